package idemgrpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Metadata keys.
const (
	// KeyMetadata carries the key of a call.
	KeyMetadata = "idempotency-key"
	// ReplayedMetadata is "true" in the header of a reply that was recorded by an earlier call.
	ReplayedMetadata = "idempotency-replayed"
	// RecordedMetadata is "false" in the trailer of a reply that is the handler's own and is not known to be recorded, so
	// that a repeat may run again: the store failed.
	RecordedMetadata = "idempotency-recorded"
)

// neverStored are the keys that belong to one client, one call or one connection, beside those that gRPC reserves.
var neverStored = map[string]bool{
	"authorization": true, "proxy-authorization": true, "proxy-authenticate": true, "www-authenticate": true,
	"cookie": true, "set-cookie": true, "set-cookie2": true,
	"connection": true, "keep-alive": true, "proxy-connection": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
	"content-length": true, "content-type": true, "date": true, "host": true, "user-agent": true,
	"traceparent": true, "tracestate": true, "baggage": true,
	KeyMetadata: true, ReplayedMetadata: true, RecordedMetadata: true,
}

func mayBeStored(key string) bool {
	return isMetadataKey(key) && !strings.HasPrefix(key, "grpc-") && !neverStored[key]
}

// isMetadataKey reports whether key has gRPC's form of a custom metadata key, in lower case.
func isMetadataKey(key string) bool {
	for i := range len(key) {
		c := key[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return key != ""
}

// filter says which keys are stored.
type filter struct {
	allowed map[string]bool
	all     bool
}

func (f *filter) allow(keys []string) error {
	for _, key := range keys {
		if key == "*" {
			f.all = true
			continue
		}
		key = strings.ToLower(key)
		if !mayBeStored(key) {
			return fmt.Errorf("metadata %q is never stored", key)
		}
		if f.allowed == nil {
			f.allowed = make(map[string]bool)
		}
		f.allowed[key] = true
	}
	return nil
}

func (f *filter) empty() bool { return !f.all && len(f.allowed) == 0 }

// take appends what is to be stored of md to kept.
func (f *filter) take(kept, md metadata.MD) metadata.MD {
	for key, values := range md {
		key = strings.ToLower(key)
		if len(values) == 0 || !mayBeStored(key) || !f.all && !f.allowed[key] {
			continue
		}
		if kept == nil {
			kept = metadata.MD{}
		}
		kept[key] = append(kept[key], values...)
	}
	return kept
}

// recorder is a handler's stream that remembers what metadata it set. Where the client is gone there is nobody to send it
// to, which is no failure of the handler's.
type recorder struct {
	grpc.ServerTransportStream
	s      *server
	client context.Context

	mu              sync.Mutex
	header, trailer metadata.MD
}

func (r *recorder) SetHeader(md metadata.MD) error {
	return r.note(&r.header, &r.s.headers, md, r.ServerTransportStream.SetHeader(md))
}

func (r *recorder) SendHeader(md metadata.MD) error {
	return r.note(&r.header, &r.s.headers, md, r.ServerTransportStream.SendHeader(md))
}

func (r *recorder) SetTrailer(md metadata.MD) error {
	return r.note(&r.trailer, &r.s.trailers, md, r.ServerTransportStream.SetTrailer(md))
}

func (r *recorder) note(kept *metadata.MD, f *filter, md metadata.MD, err error) error {
	if err != nil && r.client.Err() == nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	*kept = f.take(*kept, md)
	return nil
}

// noted returns the metadata so far. A nil recorder has none.
func (r *recorder) noted() (header, trailer metadata.MD) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.header.Copy(), r.trailer.Copy()
}

var errBadMetadata = errors.New("metadata that cannot be sent")

// checkMetadata refuses stored metadata that may not be set. What was recorded here passes; a store is not trusted with
// the form of a reply.
func checkMetadata(md metadata.MD) error {
	for key, values := range md {
		if !mayBeStored(key) {
			return errBadMetadata
		}
		for _, v := range values {
			if !strings.HasSuffix(key, "-bin") && strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' }) {
				return errBadMetadata
			}
		}
	}
	return nil
}
