package idemgrpc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// recordVersion is the form of the stored document. A program that finds one which it does not know replays nothing and
// runs nothing.
const recordVersion = "1"

// record is a reply as it is stored: a JSON object in which exactly one of message, status and omitted is set. Bytes are in
// base64, so that every one comes back: of the message, which is in protobuf's wire format with its type URL as in
// google.protobuf.Any, and of the google.rpc.Status.
type record struct {
	Version string              `json:"idemgrpc"`
	Type    string              `json:"type,omitempty"`
	Message []byte              `json:"message,omitempty"` // may be empty beside a type
	Status  []byte              `json:"status,omitempty"`
	Omitted string              `json:"omitted,omitempty"` // a tombstone, and why
	Header  map[string][]string `json:"header,omitempty"`
	Trailer map[string][]string `json:"trailer,omitempty"`
}

const typePrefix = "type.googleapis.com/"

// Why a reply was not stored.
const (
	tooLarge     = "too large"
	notEncodable = "not a protobuf message"
)

// messageDoc is the document of a message, or the tombstone in its place.
func messageDoc(reply any, limit int, header, trailer metadata.MD) json.RawMessage {
	message, ok := reply.(proto.Message)
	if !ok || !message.ProtoReflect().IsValid() {
		return omittedDoc(notEncodable)
	}
	wire, err := proto.Marshal(message)
	switch {
	case err != nil:
		return omittedDoc(notEncodable)
	case len(wire) > limit:
		return omittedDoc(tooLarge)
	}
	return encode(record{
		Type: typePrefix + string(message.ProtoReflect().Descriptor().FullName()), Message: wire,
		Header: toText(header), Trailer: toText(trailer),
	})
}

// statusDoc is the document of a status that is not OK, or the tombstone in its place.
func statusDoc(st *grpcstatus.Status, limit int, header, trailer metadata.MD) json.RawMessage {
	wire, err := proto.Marshal(st.Proto())
	switch {
	case err != nil:
		return omittedDoc(notEncodable)
	case len(wire) > limit:
		return omittedDoc(tooLarge)
	}
	return encode(record{Status: wire, Header: toText(header), Trailer: toText(trailer)})
}

func omittedDoc(why string) json.RawMessage { return encode(record{Omitted: why}) }

// encode writes what encoding/json would, at a fraction of its cost where there is no metadata. A type needs no escapes.
func encode(r record) json.RawMessage {
	const frame = len(`{"idemgrpc":"","type":"","message":""}`) + len(recordVersion)
	size := frame + len(r.Type) + base64.StdEncoding.EncodedLen(len(r.Message)+len(r.Status))
	b := append(make([]byte, 0, size), `{"idemgrpc":"`+recordVersion+`"`...)
	if r.Type != "" {
		b = append(append(append(b, `,"type":"`...), r.Type...), '"')
	}
	if len(r.Message) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `,"message":"`...), r.Message), '"')
	}
	if len(r.Status) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `,"status":"`...), r.Status), '"')
	}
	if r.Omitted != "" {
		b = appendJSON(append(b, `,"omitted":`...), r.Omitted)
	}
	if len(r.Header) > 0 {
		b = appendJSON(append(b, `,"header":`...), r.Header)
	}
	if len(r.Trailer) > 0 {
		b = appendJSON(append(b, `,"trailer":`...), r.Trailer)
	}
	return append(b, '}')
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil { // strings
		panic("idemgrpc: " + err.Error())
	}
	return append(b, text...)
}

// stored is a record read: exactly one of message, failure and omitted is set.
type stored struct {
	message         proto.Message
	failure         *grpcstatus.Status
	omitted         string
	header, trailer metadata.MD
}

var errNotRecord = errors.New("idemgrpc: not a stored reply")

// decode reads a document. Errors do not quote it.
func decode(doc json.RawMessage, types protoregistry.MessageTypeResolver) (s stored, err error) {
	r, plain := parsePlain(doc)
	if !plain && json.Unmarshal(doc, &r) != nil || r.Version != recordVersion {
		return stored{}, errNotRecord
	}
	if s.header, err = fromText(r.Header); err != nil {
		return stored{}, err
	}
	if s.trailer, err = fromText(r.Trailer); err != nil {
		return stored{}, err
	}
	switch {
	case r.Omitted != "" && r.Type == "" && len(r.Message)+len(r.Status) == 0:
		s.omitted = r.Omitted
	case r.Type != "" && r.Omitted == "" && len(r.Status) == 0:
		kind, err := types.FindMessageByURL(r.Type)
		if err != nil {
			return stored{}, errNotRecord
		}
		s.message = kind.New().Interface()
		if proto.Unmarshal(r.Message, s.message) != nil {
			return stored{}, errNotRecord
		}
	case len(r.Status) > 0 && r.Type == "" && r.Omitted == "" && len(r.Message) == 0:
		p := new(status.Status)
		if proto.Unmarshal(r.Status, p) != nil || codes.Code(p.GetCode()) == codes.OK {
			return stored{}, errNotRecord
		}
		s.failure = grpcstatus.FromProto(p)
	default:
		return stored{}, errNotRecord
	}
	return s, nil
}

// toText has binary values in base64, as on the wire; the others are printable ASCII.
func toText(md metadata.MD) map[string][]string {
	for key, values := range md {
		if strings.HasSuffix(key, "-bin") {
			for i, v := range values {
				values[i] = base64.StdEncoding.EncodeToString([]byte(v))
			}
		}
	}
	return md
}

func fromText(text map[string][]string) (metadata.MD, error) {
	for key, values := range text {
		if strings.HasSuffix(key, "-bin") {
			for i, v := range values {
				b, err := base64.StdEncoding.Strict().DecodeString(v)
				if err != nil {
					return nil, errBadMetadata
				}
				values[i] = string(b)
			}
		}
	}
	return text, checkMetadata(text)
}
