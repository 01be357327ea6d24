package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.aimon.at/idempotency"
)

// Section 2: keys, holders, fingerprints and session IDs.
var textCases = []Case{
	{
		Name:    "key/shortest-and-longest",
		Clauses: []string{"2a"},
		Rule:    "A key of 1 byte and keys of 1024 bytes, also of characters of several bytes, are taken and come back.",
		run: func(e *env) {
			for _, key := range []string{"k", strings.Repeat("k", idempotency.MaxKeyBytes), strings.Repeat("é", idempotency.MaxKeyBytes/2)} {
				got := e.claim(key, "a")
				e.want(got.Key == key, "key of %d bytes came back as %s", len(key), quote(got.Key))
				e.unchanged(got)
			}
		},
	},
	{
		Name:    "key/longest-differ-in-the-last-byte",
		Clauses: []string{"2a", "1.1"},
		Rule:    "Keys are not cut: two keys of 1024 bytes that differ in the last are two keys.",
		run: func(e *env) {
			long := strings.Repeat("k", idempotency.MaxKeyBytes-1)
			e.claim(long+"1", "a")
			e.want(e.put(long+"2", inFlight("b"), e.long).Inserted, "a long key is taken for another with the same beginning")
		},
	},
	{
		Name:    "key/empty",
		Clauses: []string{"2a", "2.1"},
		Rule:    "An empty key is ErrInvalidKey in every operation.",
		run:     func(e *env) { e.keyRefused("") },
	},
	{
		Name:    "key/too-long",
		Clauses: []string{"2a", "2.1"},
		Rule:    "A key of 1025 bytes is ErrInvalidKey in every operation; bytes are counted, not characters.",
		run: func(e *env) {
			e.keyRefused(strings.Repeat("k", idempotency.MaxKeyBytes+1))
			e.keyRefused(strings.Repeat("€", idempotency.MaxKeyBytes/3) + "kk")
		},
	},
	{
		Name:    "key/not-utf8",
		Clauses: []string{"2a", "2.1"},
		Rule:    "A key that is not UTF-8 is ErrInvalidKey in every operation.",
		run: func(e *env) {
			e.keyRefused("k\xff")
			e.keyRefused("\xed\xa0\x80") // a surrogate
		},
	},
	{
		Name:    "key/nul",
		Clauses: []string{"2a", "2.1"},
		Rule:    "A key with a NUL byte is ErrInvalidKey in every operation.",
		run:     func(e *env) { e.keyRefused("k\x00") },
	},
	{
		Name:    "key/hostile",
		Clauses: []string{"2a"},
		Rule:    "A key is only bytes: quotes, braces, wildcards, separators, line ends and code in it mean nothing.",
		run: func(e *env) {
			for i, key := range hostile {
				e.wholeLife(key, fmt.Sprintf("holder-%d", i))
			}
		},
	},
	{
		Name:    "holder/shortest-and-longest",
		Clauses: []string{"2b"},
		Rule:    "Holder IDs of 1 and of 255 bytes are taken and come back.",
		run: func(e *env) {
			for i, holder := range []string{"h", strings.Repeat("h", idempotency.MaxHolderBytes), strings.Repeat("é", 127) + "h"} {
				got := e.claim(e.key(fmt.Sprint(i)), holder)
				e.want(got.HolderID == holder, "holder of %d bytes came back as %s", len(holder), quote(got.HolderID))
				e.want(e.touch(got.Key, holder), "Touch by a holder with an ID of %d bytes: false", len(holder))
			}
		},
	},
	{
		Name:    "holder/empty",
		Clauses: []string{"2b", "2.1"},
		Rule:    "An empty holder ID is ErrInvalidHolder in every operation that names one.",
		run:     func(e *env) { e.holderRefused("") },
	},
	{
		Name:    "holder/too-long",
		Clauses: []string{"2b", "2.1"},
		Rule:    "A holder ID of 256 bytes is ErrInvalidHolder in every operation that names one; bytes are counted, not characters.",
		run: func(e *env) {
			e.holderRefused(strings.Repeat("h", idempotency.MaxHolderBytes+1))
			e.holderRefused(strings.Repeat("€", idempotency.MaxHolderBytes/3) + "h")
		},
	},
	{
		Name:    "holder/not-utf8",
		Clauses: []string{"2b", "2.1"},
		Rule:    "A holder ID that is not UTF-8 is ErrInvalidHolder in every operation that names one.",
		run:     func(e *env) { e.holderRefused("h\xff") },
	},
	{
		Name:    "holder/nul",
		Clauses: []string{"2b", "2.1"},
		Rule:    "A holder ID with a NUL byte is ErrInvalidHolder in every operation that names one.",
		run:     func(e *env) { e.holderRefused("h\x00") },
	},
	{
		Name:    "holder/of-a-late-completion",
		Clauses: []string{"2b", "3.1e"},
		Rule:    "The holder of a late completion, when given, obeys the same rules: else ErrInvalidHolder.",
		run: func(e *env) {
			for _, holder := range []string{"h\x00", "h\xff", strings.Repeat("h", idempotency.MaxHolderBytes+1)} {
				e.refused(e.tryPut(e.key("k"), completed(holder, `1`), e.long), idempotency.ErrInvalidHolder,
					"late completion by the holder %s", quote(holder))
			}
		},
	},
	{
		Name:    "holder/hostile",
		Clauses: []string{"2b"},
		Rule:    "A holder ID is only bytes: quotes, braces, wildcards, separators, line ends and code in it mean nothing.",
		run: func(e *env) {
			for i, holder := range hostile {
				if len(holder) <= idempotency.MaxHolderBytes {
					e.wholeLife(e.key(fmt.Sprint(i)), holder)
				}
			}
		},
	},
	{
		Name:    "holder/tells-attempts-apart",
		Clauses: []string{"2.3"},
		Rule:    "Two holder IDs are one only if their bytes are: attempts of one node, in upper and lower case, with a space more, are others.",
		run: func(e *env) {
			held := e.claim(e.key("k"), "node-1/a")
			for _, holder := range []string{"node-1/b", "node-1", "node-1/a2", "Node-1/A", "node-1/a "} {
				e.want(!e.put(e.key("k"), inFlight(holder), e.long).Inserted, "claim by %q: taken for \"node-1/a\"", holder)
				e.want(!e.touch(e.key("k"), holder), "Touch by %q: taken for \"node-1/a\"", holder)
				e.want(!e.done(e.key("k"), holder, `1`, e.long), "MarkDone by %q: taken for \"node-1/a\"", holder)
				e.want(!e.reset(e.key("k"), holder, time.Time{}), "CompareAndReset of %q: taken for \"node-1/a\"", holder)
			}
			e.unchanged(held)
		},
	},
	{
		Name:    "labels/shortest-and-longest",
		Clauses: []string{"2c"},
		Rule:    "Fingerprints and session IDs of 0 to 255 bytes, of any characters, are taken and come back.",
		run: func(e *env) {
			for i, label := range slices.Concat(hostile, []string{"", strings.Repeat("l", idempotency.MaxLabelBytes)}) {
				x := inFlight("a")
				x.Fingerprint = label[:min(len(label), idempotency.MaxLabelBytes)]
				x.SessionID = x.Fingerprint
				got := e.mustPut(e.key(fmt.Sprint(i)), x, e.long).Entry
				e.want(got.Fingerprint == x.Fingerprint, "fingerprint %s came back as %s", quote(x.Fingerprint), quote(got.Fingerprint))
				e.want(got.SessionID == x.SessionID, "session %s came back as %s", quote(x.SessionID), quote(got.SessionID))
			}
		},
	},
	{
		Name:    "labels/bad-fingerprint",
		Clauses: []string{"2c", "2.1"},
		Rule:    "A fingerprint of 256 bytes, with a NUL, or not UTF-8 is ErrInvalidEntry, in a claim and in a take-over.",
		run: func(e *env) {
			e.labelRefused("fingerprint", func(x *idempotency.Entry, label string) { x.Fingerprint = label })
		},
	},
	{
		Name:    "labels/bad-session",
		Clauses: []string{"2c", "2.1"},
		Rule:    "A session ID of 256 bytes, with a NUL, or not UTF-8 is ErrInvalidEntry, in a claim and in a take-over.",
		run: func(e *env) {
			e.labelRefused("session", func(x *idempotency.Entry, label string) { x.SessionID = label })
		},
	},
}

// hostile are strings that a store may mistake for something else than bytes.
var hostile = []string{
	`'; DROP TABLE idempotency; --`, `"`, `\`, `\\x00`, `\u0000`, `%`, `%s%d%n`, `_`, `*`, `?`, `[a-z]*`, `$1`, `:name`, `a:b:c`, `{a}`,
	`}a`, `{a`, `}{`, `{}`, `]]`, `--[[`, `return redis.call("FLUSHALL")`, `../../etc/passwd`, `/`, `.`, `..`, `a/b`, `a\b`, `con.`,
	" ", "  ", "\t", "\n", "\r\n", "a\nb", "a\r\nb", "\x01", "\x1b[2J", "\x7f", "\u0085", "\u00a0", "\u200b", "\u2028", "\ufeff", "\ufffd",
	"\U0010ffff", "😀", "é", "e\u0301", "null", "NULL", "nil", "0", "-1", "true", `{"status":"DONE"}`, `"status":"IN_FLIGHT","holderId":"h1"`,
	"<script>", "&amp;", "a b", "k=v", "k,v", "k|v", "k;v", "#", "`", "~", "^", "@", "!",
}

// wholeLife takes key through each operation by holder: every one must know both again.
func (e *env) wholeLife(key, holder string) {
	at := fmt.Sprintf("key %s, holder %s", quote(key), quote(holder))
	res := e.put(key, inFlight(holder), e.long)
	e.want(res.Inserted && res.Entry.Key == key && res.Entry.HolderID == holder, "%s: claim: inserted %v, key %s, holder %s", at,
		res.Inserted, quote(res.Entry.Key), quote(res.Entry.HolderID))
	e.want(e.touch(key, holder), "%s: Touch: false", at)
	e.want(e.takeOver(key, holder, time.Time{}, inFlight("another"), e.long).Inserted, "%s: TakeOver: not inserted", at)
	e.want(e.takeOver(key, "another", time.Time{}, inFlight(holder), e.long).Inserted, "%s: TakeOver back: not inserted", at)
	e.want(e.reset(key, holder, time.Time{}), "%s: CompareAndReset: false", at)
	e.claim(key, holder)
	e.want(e.done(key, holder, `1`, e.long), "%s: MarkDone: false", at)
	e.want(e.mustFind(key).Key == key, "%s: Find gave another key", at)
}

func (e *env) labelRefused(what string, set func(x *idempotency.Entry, label string)) {
	e.claim(e.key("held"), "a")
	for _, label := range []string{strings.Repeat("l", idempotency.MaxLabelBytes+1), strings.Repeat("€", idempotency.MaxLabelBytes/3) + "l", "l\x00", "l\xff"} {
		x := inFlight("b")
		set(&x, label)
		e.refused(e.tryPut(e.key("free"), x, e.long), idempotency.ErrInvalidEntry, "claim with the %s %s", what, quote(label))
		e.refused(e.tryTakeOver(e.key("held"), "a", x, e.long), idempotency.ErrInvalidEntry, "take-over with the %s %s", what, quote(label))
	}
}
