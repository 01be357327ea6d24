package redis

import (
	"crypto/sha1"
	"embed"
	"encoding/hex"
)

//go:embed scripts/*.lua
var files embed.FS

// script is the constant text of an operation; all data goes in as keys and arguments.
type script struct {
	text   string
	sha    string
	values int // arguments for each entry, of a script that takes many
}

// Scripts that take many entries of a shard, so that concurrent operations can share a run.
var (
	scriptPut   = load(1, "put", "bury", "trim")
	scriptDone  = load(2, "done")
	scriptTouch = load(1, "touch")
	scriptFind  = load(0, "find")
)

// Scripts that are one operation's alone.
var (
	scriptTakeOver = load(0, "takeover")
	scriptReset    = load(0, "reset")
	scriptRange    = load(0, "walk", "range")
	scriptSweep    = load(0, "bury", "walk", "sweep")
	scriptNow      = load(0, "now")
	scriptLayout   = load(0, "layout")
	scriptMark     = load(0, "mark")
)

// load joins files to a script that begins with the prelude.
func load(values int, names ...string) *script {
	var text string
	for _, name := range append([]string{"prelude"}, names...) {
		part, err := files.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			panic(err) // it is embedded
		}
		text += string(part)
	}
	sum := sha1.Sum([]byte(text)) // the server names scripts so
	return &script{text: text, sha: hex.EncodeToString(sum[:]), values: values}
}
