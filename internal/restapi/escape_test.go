package restapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/iotest"
)

// However a text is cut into reads, it comes out as the same JSON string.
func FuzzCopyEscaped(f *testing.F) {
	for _, seed := range []string{"", "plain", "aé€😀", "\xff\xc3", "\"\\\n\x1b\u2028", strings.Repeat("€", 30_000)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var whole, bytewise bytes.Buffer
		if err := copyEscaped(&whole, bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if err := copyEscaped(&bytewise, iotest.OneByteReader(bytes.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		want := strings.ToValidUTF8(string(text), "\uFFFD")
		for _, got := range []string{whole.String(), bytewise.String()} {
			var s string
			if err := json.Unmarshal([]byte(`"`+got+`"`), &s); err != nil {
				t.Fatalf("%v in %q", err, got)
			}
			if squeezed(s) != squeezed(want) {
				t.Errorf("%q became %q", text, s)
			}
		}
	})
}

// squeezed makes one of several replacement characters in a row: how many stand for a broken
// character is nobody's promise.
func squeezed(s string) string {
	for strings.Contains(s, "\uFFFD\uFFFD") {
		s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
	}
	return s
}

// What clients send where a text, a person or an answer belongs is read or refused, never worse.
func FuzzLooseValues(f *testing.F) {
	for _, seed := range []string{`"x"`, `1`, `true`, `null`, `{}`, `[]`, `["a",1]`, `{"name":1}`, `"A <a@example.test>"`, `[[]]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var v struct {
			L loose
			P person
			A answer
			M looseMap
		}
		for _, key := range []string{"L", "P", "A", "M"} {
			err := json.Unmarshal([]byte(`{"`+key+`":`+string(body)+`}`), &v)
			if err == nil && !json.Valid(body) && !strings.ContainsAny(string(body), ",}") {
				t.Errorf("%q was taken for %s", body, key)
			}
		}
	})
}
