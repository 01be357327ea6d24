package idemhttp

import (
	"bytes"
	"hash"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"go.aimon.at/idempotency"
)

// input is a hash that is what it was fed.
type input struct {
	hash.Hash
	bytes.Buffer
}

func (i *input) Write(p []byte) (int, error) { return i.Buffer.Write(p) }
func (i *input) Reset()                      { i.Buffer.Reset() }

func hashed(method, path, query, contentType string, body []byte, selected [][]byte) string {
	in := &input{}
	h := &hasher{Hash: in}
	r := &http.Request{Method: method, URL: &url.URL{}, Header: http.Header{"Content-Type": {contentType}}}
	h.request(r, path, query, body, selected)
	return in.String()
}

// FuzzFingerprint: two requests give the hash the same input only if they are the same.
func FuzzFingerprint(f *testing.F) {
	f.Add("POST", "/a", "b", "text/plain", []byte("x"), "POST", "/ab", "", "text/plain", []byte("x"))
	f.Add("POST", "/a", "", "", []byte("\x00\x00\x00\x00\x00\x00\x00\x01x"), "POST", "/a", "", "\x00", []byte("x"))
	f.Fuzz(func(t *testing.T, method1, path1, query1, type1 string, body1 []byte, method2, path2, query2, type2 string, body2 []byte) {
		same := method1 == method2 && path1 == path2 && query1 == query2 && type1 == type2 && bytes.Equal(body1, body2)
		a, b := hashed(method1, path1, query1, type1, body1, nil), hashed(method2, path2, query2, type2, body2, nil)
		if (a == b) != same {
			t.Fatal("two requests are one, or one is two")
		}
		// And so do selected parts, cut in two at a place that the other request's parts suggest.
		cut := func(s []byte, at int) [][]byte { return [][]byte{s[:min(at, len(s))], s[min(at, len(s)):]} }
		parts1, parts2 := cut(body1, len(path1)), cut(body2, len(path2))
		same = method1 == method2 && path1 == path2 && slices.EqualFunc(parts1, parts2, bytes.Equal)
		a, b = hashed(method1, path1, "", "", nil, parts1), hashed(method2, path2, "", "", nil, parts2)
		if (a == b) != same {
			t.Fatal("two lists are one, or one is two")
		}
	})
}

func TestFingerprintIsTheLibrarys(t *testing.T) {
	t.Parallel()
	r := &http.Request{Method: "POST", URL: &url.URL{}, Header: http.Header{"Content-Type": {"text/plain"}}}
	d := newDigest(nil)
	for range 2 { // the second time with a hasher that was used
		got := d.ofRequest(r, "/a", "b=c", []byte("body"), nil)
		want := idempotency.Fingerprint([]byte("POST"), []byte("/a"), []byte("b=c"), []byte("text/plain"), []byte("body"))
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
		got = d.ofRequest(r, "/a", "b=c", []byte("body"), [][]byte{[]byte("one")})
		if want := idempotency.Fingerprint([]byte("POST"), []byte("/a"), []byte("one")); got != want {
			t.Errorf("selected: %s, want %s", got, want)
		}
	}
	keyed := newDigest([]byte(strings.Repeat("s", 16)))
	if a, b := keyed.ofRequest(r, "/a", "", nil, nil), keyed.ofRequest(r, "/a", "", nil, nil); a != b || a == d.ofRequest(r, "/a", "", nil, nil) {
		t.Errorf("keyed: %s and %s", a, b)
	}
}
