package integration

import "testing"

func TestMain(m *testing.M) {
	play()
	Main(m)
}
