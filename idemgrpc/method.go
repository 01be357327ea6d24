package idemgrpc

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"go.aimon.at/idempotency"
)

// KeyRule says what a method does about keys.
type KeyRule uint8

const (
	// Optional: a call with a key is protected, one without runs as ever. It is the default.
	Optional KeyRule = iota + 1
	// Required: a call without a key is refused.
	Required
	// Off: keys are not looked at. It is the default of methods whose descriptor says idempotency_level = NO_SIDE_EFFECTS.
	Off
)

// Method is how the interceptor treats a method. A field left zero is as in [WithDefaults].
type Method struct {
	// Key is whether calls need a key.
	Key KeyRule
	// Timeout bounds the handler, from when the key is claimed; 0: it does not. The client's deadline bounds an attached
	// handler only, so a handler that calls others needs this or deadlines of its own.
	Timeout time.Duration
	// Attached has the handler's context end with its client's call, as without the interceptor. Otherwise it ends when the
	// lease is lost, by Timeout, or when the manager is closed.
	Attached bool
	// Call are the options of the manager: WithLease, WithDoneTTL, WithPolicy and so on. WithWait has a repeat wait for the
	// reply; the interceptor's own default is 0, whatever the manager's: a repeat is refused with [InFlight]. They come
	// after those of the defaults. Fingerprint and detachment are the interceptor's.
	Call []idempotency.CallOption
}

// over fills what m leaves open from d.
func (m Method) over(d Method) Method {
	if m.Key == 0 {
		m.Key = d.Key
	}
	if m.Timeout == 0 {
		m.Timeout = d.Timeout
	}
	m.Attached = m.Attached || d.Attached
	m.Call = slices.Concat(d.Call, m.Call)
	return m
}

// call are a method's options for the manager.
func (m Method) callOptions() []idempotency.CallOption {
	opts := append([]idempotency.CallOption{idempotency.WithWait(0)}, m.Call...)
	if !m.Attached {
		opts = append(opts, idempotency.WithDetachedWork())
	}
	return slices.Clip(opts)
}

// method finds out how to treat a method, once for each. gRPC calls a unary interceptor for registered methods only, so
// their number is bounded.
func (s *server) method(fullName string) *Method {
	if known, ok := s.methods.Load(fullName); ok {
		return known.(*Method)
	}
	m, named := s.named[fullName]
	if !named && s.methodOf != nil {
		m = s.methodOf(fullName)
	}
	if m.Key == 0 && safe(fullName) {
		m.Key = Off
	}
	m = m.over(s.defaults)
	m.Call = m.callOptions()
	known, _ := s.methods.LoadOrStore(fullName, &m)
	return known.(*Method)
}

// safe reports whether a method's descriptor, if the program has one, says that it has no side effects.
func safe(fullName string) bool {
	name := strings.ReplaceAll(strings.TrimPrefix(fullName, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return false
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return false
	}
	opts, ok := method.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
