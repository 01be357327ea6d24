package redis

import (
	"fmt"
	"strconv"
)

// layout names what the store keeps. All of a shard begins with one hash tag, so that a cluster keeps it in one slot:
//
//	{prefix:3.17}:<key>     the entry of <key>, a string
//	{prefix:3.17}f          the flights of shard 3, a sorted set of keys
//	{prefix:3.17}r          its results, another
//	{prefix:3.17}w          whether somebody watches, a string for a while
//	{prefix:layout}         the layout as text, which every process compares with its own
//
// The tag ends at the first closing brace, and the user's key stands behind it, so no key can break it.
type layout struct {
	prefix string
	shards []names
}

// names are those of a shard.
type names struct {
	base    string // of entries, before their key
	flights string
	results string
	mark    string // there is one while somebody watches
}

// slots is the number of hash slots of a cluster.
const slots = 16384

// newLayout picks the tags. The number behind the point makes the shards lie evenly over the slots of a cluster, for it
// splits those in ranges, whereas tags taken as they come would leave one master with most of the shards.
func newLayout(prefix string, shards int) layout {
	l := layout{prefix: prefix, shards: make([]names, shards)}
	for i := range shards {
		for n := 0; ; n++ {
			tag := fmt.Sprintf("%s:%d.%d", prefix, i, n)
			if int(slot(tag))*shards/slots == i {
				tag = "{" + tag + "}"
				l.shards[i] = names{base: tag + ":", flights: tag + "f", results: tag + "r", mark: tag + "w"}
				break
			}
		}
	}
	return l
}

// text is what processes agree upon. Whatever another value of makes two of them miss each other's entries or hints is in it.
func (l *layout) text(push bool) string {
	return "v2 shards=" + strconv.Itoa(len(l.shards)) + " push=" + strconv.FormatBool(push)
}

// name is where the text is kept.
func (l *layout) name() string { return "{" + l.prefix + ":layout}" }

// shard returns the shard of a key.
func (l *layout) shard(key string) int {
	if len(l.shards) == 1 {
		return 0
	}
	sum := uint64(14695981039346656037) // FNV-1a; every process must come to the same shard
	for i := range len(key) {
		sum = (sum ^ uint64(key[i])) * 1099511628211
	}
	return int((sum ^ sum>>32) % uint64(len(l.shards)))
}

// slot is the hash slot of a tag: CRC-16/XMODEM modulo 16384 (Redis Cluster specification).
func slot(tag string) uint16 {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % slots
}
