package pipeline

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/buildkite/go-pipeline/ordered"
)

// value is one JSON value with its bytes as received and, if the document has positions, its place.
// Values are decoded a level at a time, so that the bytes of whatever is not looked at never change.
type value struct {
	raw json.RawMessage // nil: the attribute is absent, which differs from null
	at  place
}

// field is one member of an object.
type field struct {
	name string
	value
}

// object is a decoded JSON object: members in document order, the last of equal names winning, as
// it does where agents decode the same bytes.
type object struct {
	fields []field
	index  map[string]int
	at     place
}

func (v value) absent() bool { return v.raw == nil }

// unset is absent or null; nearly every attribute treats the two alike.
func (v value) unset() bool { return v.absent() || v.shape() == 'n' }

// shape is the first byte of the value: { [ " t f n, or a digit or sign for numbers; 0 if absent.
func (v value) shape() byte {
	if len(v.raw) == 0 {
		return 0
	}
	return v.raw[0]
}

func (v value) isObject() bool { return v.shape() == '{' }
func (v value) isList() bool   { return v.shape() == '[' }
func (v value) isString() bool { return v.shape() == '"' }
func (v value) isScalar() bool { return !v.absent() && !v.isObject() && !v.isList() }

func (v value) position() Position { return v.at.position() }

// object decodes the members; an empty object if the value is none.
func (v value) object() object {
	o := object{index: map[string]int{}, at: v.at}
	if !v.isObject() {
		return o
	}
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	if _, err := dec.Token(); err != nil {
		return o
	}
	for dec.More() {
		name, raw, ok := member(dec)
		if !ok {
			return o
		}
		o.set(name, raw)
	}
	return o
}

func member(dec *json.Decoder) (string, json.RawMessage, bool) {
	token, err := dec.Token()
	if err != nil {
		return "", nil, false
	}
	name, ok := token.(string)
	var raw json.RawMessage
	if !ok || dec.Decode(&raw) != nil {
		return "", nil, false
	}
	return name, raw, true
}

func (o *object) set(name string, raw json.RawMessage) {
	if i, ok := o.index[name]; ok {
		o.fields[i].raw = raw
		return
	}
	o.index[name] = len(o.fields)
	o.fields = append(o.fields, field{name, value{raw, o.at.child(name)}})
}

// get is the first of the names that is present, or an absent value that lies where the object does.
func (o object) get(names ...string) value {
	for _, name := range names {
		if i, ok := o.index[name]; ok {
			return o.fields[i].value
		}
	}
	return value{at: o.at.unknown()}
}

func (o object) has(name string) bool {
	_, ok := o.index[name]
	return ok
}

// items decodes a list; nil if the value is none.
func (v value) items() []value {
	if !v.isList() {
		return nil
	}
	var raws []json.RawMessage
	if json.Unmarshal(v.raw, &raws) != nil {
		return nil
	}
	list := make([]value, len(raws))
	for i, raw := range raws {
		list[i] = value{raw, v.at.item(i)}
	}
	return list
}

// text is a scalar as text, in the form that the agent's library gives it: 1.50 is "1.5", null is "".
func (v value) text() string {
	if v.unset() || !v.isScalar() {
		return ""
	}
	src, err := ordered.DecodeJSON(v.raw)
	if err != nil {
		return ""
	}
	var s string
	if ordered.Unmarshal(src, &s) != nil {
		return ""
	}
	return s
}

// compact is the value on one line.
func (v value) compact() string {
	var b bytes.Buffer
	if json.Compact(&b, v.raw) != nil {
		return strings.TrimSpace(string(v.raw))
	}
	return b.String()
}
