package idemgrpc

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// FuzzDecode gives the decoder any document: it must not panic, it must read what encoding/json does, and what it takes must be
// sendable and come back from a new document.
func FuzzDecode(f *testing.F) {
	md := func() metadata.MD { return metadata.Pairs("x-a", "1", "x-b-bin", "\x00\xff") }
	f.Add([]byte(messageDoc(wrapperspb.String("a"), 1<<20, md(), md())))
	f.Add([]byte(statusDoc(status.New(codes.NotFound, "n"), 1<<20, md(), nil)))
	f.Add([]byte(omittedDoc(tooLarge)))
	f.Add([]byte(`{"idemgrpc":"1","type":"type.googleapis.com/google.protobuf.StringValue"}`))
	f.Add([]byte(`{"idemgrpc":"1","status":"CAI=","header":{"grpc-status":["0"]}}`))
	for _, c := range plainDocs {
		f.Add([]byte(c.doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		samePlain(t, doc)
		s, err := decode(doc, protoregistry.GlobalTypes)
		if err != nil {
			if s.message != nil || s.failure != nil || s.omitted != "" {
				t.Error("a reply beside an error")
			}
			return
		}
		kinds := 0
		var again []byte
		if s.message != nil {
			kinds++
			again = messageDoc(s.message, 1<<30, s.header.Copy(), s.trailer.Copy())
		}
		if s.failure != nil {
			kinds++
			again = statusDoc(s.failure, 1<<30, s.header.Copy(), s.trailer.Copy())
		}
		if s.omitted != "" {
			kinds++
			again = omittedDoc(s.omitted)
		}
		if kinds != 1 {
			t.Fatalf("a reply of %d kinds", kinds)
		}
		if err := checkMetadata(s.header); err != nil {
			t.Error(err)
		}
		s2, err := decode(again, protoregistry.GlobalTypes)
		switch {
		case err != nil:
			t.Fatal(err)
		case s.message != nil && (s2.message == nil || !proto.Equal(s.message, s2.message)):
			t.Error("another message")
		case s.failure != nil && (s2.failure == nil || !proto.Equal(s.failure.Proto(), s2.failure.Proto())):
			t.Error("another status")
		case s.omitted != s2.omitted:
			t.Error("another reason")
		case s.omitted == "" && (!sameMD(s.header, s2.header) || !sameMD(s.trailer, s2.trailer)):
			t.Error("other metadata")
		}
	})
}

func sameMD(a, b metadata.MD) bool {
	if len(a) != len(b) {
		return false
	}
	for key, values := range a {
		if len(values) != len(b[key]) {
			return false
		}
		for i := range values {
			if values[i] != b[key][i] {
				return false
			}
		}
	}
	return true
}

// FuzzParseKey: what is taken is visible ASCII, and taken again as itself.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"k", `"k"`, `""`, "a,b", "a b", "\x00", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := parseKey(s)
		if err != nil {
			return
		}
		if again, err := parseKey(key); err != nil || again != key || key == "" || len(key) > MaxKeyBytes {
			t.Errorf("%q is taken as %q, and that as %q, %v", s, key, again, err)
		}
		if quoted, err := parseKey(`"` + key + `"`); err != nil || quoted != key {
			t.Errorf("%q in quotation marks is %q, %v", key, quoted, err)
		}
	})
}

// FuzzStorageKey: two triples share a storage key only if they are one.
func FuzzStorageKey(f *testing.F) {
	f.Add("ann", "/s/M", "k", "an", "n/s/M", "k")
	f.Add("1:a,", "", "", "1", ":a", ",")
	d := newDigest(nil)
	f.Fuzz(func(t *testing.T, who1, method1, key1, who2, method2, key2 string) {
		same := who1 == who2 && method1 == method2 && key1 == key2
		for _, hashed := range []bool{false, true} {
			if got := storageKey(d, hashed, who1, method1, key1) == storageKey(d, hashed, who2, method2, key2); got != same {
				t.Errorf("the storage keys are equal: %v", got)
			}
		}
	})
}
