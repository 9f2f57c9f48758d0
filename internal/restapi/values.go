package restapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// stamp is a time as the API writes it: RFC 3339 in UTC with milliseconds, null for none.
type stamp time.Time

// MarshalJSON implements json.Marshaler.
func (t stamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return []byte(time.Time(t).UTC().Format(`"2006-01-02T15:04:05.000Z"`)), nil
}

// maybe is a text that is null when empty.
type maybe string

// MarshalJSON implements json.Marshaler.
func (m maybe) MarshalJSON() ([]byte, error) {
	if m == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(m))
}

// graphID is the id that the GraphQL API knows a thing by. Clients make and take apart such ids
// themselves, so its form is fixed.
func graphID(kind, id string) string {
	return base64.StdEncoding.EncodeToString([]byte(kind + "---" + id))
}

// loose is a text that a client may also send as a number or a boolean.
type loose string

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		*l = ""
		return nil
	case b[0] == '"':
		var s string
		err := json.Unmarshal(b, &s)
		*l = loose(s)
		return err
	case b[0] == '{' || b[0] == '[':
		return fmt.Errorf("%s is not a text, number or boolean", bytes.TrimSpace(b))
	}
	*l = loose(b)
	return nil
}

// looseMap is a map of such texts.
type looseMap map[string]loose

func (m looseMap) texts() map[string]string {
	if m == nil {
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// person is an author, given as an object or, by older clients, as a bare text: "Ada <ada@example.test>".
type person struct {
	Name  string
	Email string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *person) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		name, email, _ := strings.Cut(s, "<")
		p.Name, p.Email = strings.TrimSpace(name), strings.TrimSuffix(strings.TrimSpace(email), ">")
		return nil
	}
	var v struct{ Name, Username, Email loose }
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	p.Name, p.Email = string(v.Name), string(v.Email)
	if p.Name == "" {
		p.Name = string(v.Username)
	}
	return nil
}

// answer is one or several values of a form's field.
type answer []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *answer) UnmarshalJSON(b []byte) error {
	if b[0] != '[' {
		var one loose
		err := json.Unmarshal(b, &one)
		*a = answer{string(one)}
		return err
	}
	var several []loose
	if err := json.Unmarshal(b, &several); err != nil {
		return err
	}
	*a = nil
	for _, v := range several {
		*a = append(*a, string(v))
	}
	return nil
}

// list is never null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
