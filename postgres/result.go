package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// document is a result on its way in: in the jsonb column or, where jsonb cannot carry it, as its exact bytes.
type document struct {
	blob string
	raw  []byte
}

func (o *ops) document(result json.RawMessage) document {
	switch {
	case len(result) == 0:
		return document{}
	case o.rawFrom > 0 && len(result) >= o.rawFrom || !fitsJSONB(result):
		return document{raw: result}
	default:
		return document{blob: string(result)}
	}
}

func (d *document) size() int { return len(d.blob) + len(d.raw) }

// blobArg is a string and not bytes, which a mode without descriptions would send as a bytea.
func (d *document) blobArg() any {
	if d.blob == "" {
		return nil
	}
	return d.blob
}

func (d *document) rawArg() any {
	if d.raw == nil {
		return nil
	}
	return d.raw
}

// unfit reports whether err is the server's refusal of a jsonb that the check had let pass, on a database whose encoding is
// not UTF-8 for instance: then the exact bytes are tried.
func (d *document) unfit(err error) bool {
	pg := (*pgconn.PgError)(nil)
	if d.blob == "" || !errors.As(err, &pg) || !refused(err) {
		return false
	}
	switch pg.Code {
	case "22P02", "22P05", // not JSON; a character that the database cannot represent
		"22003", "22023", // a number out of range
		"54000", "54001": // too many elements; nested too deeply
		return true
	}
	return false
}

// What jsonb is trusted with. Its limits are wider: numbers of 131072 digits before the point and 16383 after, nesting as
// deep as the server's stack. But it writes an exponent out in zeros, so 1e100000 would come back as 100 kB.
const (
	maxDepth     = 100
	maxDigits    = 300
	maxExponent  = 300
	surrogateMin = 0xD800
	lowSurrogate = 0xDC00
	surrogateMax = 0xDFFF
)

// fitsJSONB reports whether jsonb gives a valid document back as the same value. It does not take \u0000, nor half of
// a surrogate pair, has no negative zero, and has limits on numbers and depth.
func fitsJSONB(doc []byte) bool {
	depth := 0
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case c == '"':
			n, ok := fitsString(doc[i:])
			if !ok {
				return false
			}
			i += n - 1
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || c >= '0' && c <= '9':
			n, ok := fitsNumber(doc[i:])
			if !ok {
				return false
			}
			i += n - 1
		}
	}
	return true
}

// fitsString judges the string at the beginning of doc and returns its length.
func fitsString(doc []byte) (n int, ok bool) {
	high := false // the escape before was the first half of a pair
	for i := 1; ; {
		c := doc[i]
		if c == '\\' && doc[i+1] == 'u' {
			unit, _ := strconv.ParseUint(string(doc[i+2:i+6]), 16, 16)
			isLow := unit >= lowSurrogate && unit <= surrogateMax
			if unit == 0 || isLow != high {
				return 0, false
			}
			high = unit >= surrogateMin && unit < lowSurrogate
			i += 6
			continue
		}
		switch {
		case high:
			return 0, false
		case c == '"':
			return i + 1, true
		case c == '\\':
			i += 2
		default:
			i++
		}
	}
}

// fitsNumber judges the number at the beginning of doc and returns its length.
func fitsNumber(doc []byte) (n int, ok bool) {
	for n < len(doc) && strings.IndexByte("+-.eE0123456789", doc[n]) >= 0 {
		n++
	}
	mantissa, exponent := doc[:n], 0
	if e := bytes.IndexAny(mantissa, "eE"); e >= 0 {
		var err error
		if exponent, err = strconv.Atoi(string(mantissa[e+1:])); err != nil {
			return n, false
		}
		mantissa = mantissa[:e]
	}
	negativeZero := mantissa[0] == '-' && !bytes.ContainsAny(mantissa, "123456789")
	return n, !negativeZero && len(mantissa) <= maxDigits && -maxExponent <= exponent && exponent <= maxExponent
}
