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
	text string
	sha  string
}

var (
	scriptPut      = load("put")
	scriptTakeOver = load("takeover")
	scriptDone     = load("done")
	scriptTouch    = load("touch")
	scriptReset    = load("reset")
	scriptFind     = load("find")
	scriptRange    = load("range")
	scriptSweep    = load("sweep")
	scriptNow      = load("now")
	scriptLayout   = load("layout")
)

func load(name string) *script {
	read := func(name string) string {
		text, err := files.ReadFile("scripts/" + name + ".lua")
		if err != nil {
			panic(err) // it is embedded
		}
		return string(text)
	}
	text := read("prelude") + read(name)
	sum := sha1.Sum([]byte(text)) // the server names scripts so
	return &script{text: text, sha: hex.EncodeToString(sum[:])}
}
