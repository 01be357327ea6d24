package memory

import (
	"testing"
	"unsafe"
)

func TestItemFillsASizeClass(t *testing.T) {
	t.Parallel()
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the size is stated for 64 bits")
	}
	if got := unsafe.Sizeof(item{}); got != 112 {
		t.Errorf("an item takes %d bytes, want 112", got)
	}
	if got := unsafe.Sizeof(shard{}); got%64 != 0 {
		t.Errorf("a shard takes %d bytes, want whole cache lines", got)
	}
}
