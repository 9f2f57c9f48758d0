package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// KeyLength is that of a sealing key, in bytes.
const KeyLength = 32

// ErrOtherKey says that a value was sealed with a key that the sealer was not given.
var ErrOtherKey = errors.New("sealed with another key")

// ErrBroken says that a sealed value was changed, or stands in another place than it was sealed for.
var ErrBroken = errors.New("the sealed value is not what was sealed for this place")

// Sealer keeps small values at rest: AES-256-GCM with a random nonce, so that whoever has the
// database without the key can neither read a value nor change one unnoticed. A value is bound to
// the place that it was sealed for, so that one row's cannot be copied into another.
//
// A sealed value names its key. The first key of a sealer seals; the others open what they sealed
// before. It also makes tokens that can be made again. A sealer is safe for concurrent use. One key is good for 2^32 values (NIST SP 800-38D
// §8.3).
type Sealer struct {
	ids    []string // of keys, in their order
	aeads  map[string]cipher.AEAD
	tokens []byte // the key of tokens, of the key that seals
}

// NewSealer returns a sealer with keys of KeyLength bytes, the one that seals first.
func NewSealer(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("a sealer needs a key")
	}
	s := &Sealer{aeads: map[string]cipher.AEAD{}}
	for _, key := range keys {
		if len(key) != KeyLength {
			return nil, fmt.Errorf("a sealing key has %d bytes, not %d", len(key), KeyLength)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		id := keyID(key)
		s.ids = append(s.ids, id)
		s.aeads[id] = aead
	}
	tokens := hmac.New(sha256.New, keys[0])
	tokens.Write([]byte("slipway: key of tokens"))
	s.tokens = tokens.Sum(nil)
	return s, nil
}

// Token returns a secret that is the same whenever it is asked for with the same names, as long as the key that
// seals is: HMAC-SHA-256 over them (RFC 2104). None of the names may hold a line break.
func (s *Sealer) Token(prefix string, names ...string) string {
	mac := hmac.New(sha256.New, s.tokens)
	mac.Write([]byte(strings.Join(names, "\n")))
	return prefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// keyID is a name for a key that tells nothing of it.
func keyID(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("slipway: name of a sealing key"))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// KeyID names the key that seals.
func (s *Sealer) KeyID() string { return s.ids[0] }

// version stands before every sealed value, for a second way of sealing to come.
const version = "s1"

// Seal returns a value as text for a column. place is where it is kept (table, id of the row,
// column), and Open must be told the same.
func (s *Sealer) Seal(value []byte, place string) string {
	sealed := s.aeads[s.KeyID()].Seal(nil, nil, value, associated(s.KeyID(), place))
	return version + "." + s.KeyID() + "." + base64.RawStdEncoding.EncodeToString(sealed)
}

// Open returns what was sealed for a place. Errors are ErrOtherKey and ErrBroken.
func (s *Sealer) Open(sealed, place string) ([]byte, error) {
	id, err := KeyOf(sealed)
	if err != nil {
		return nil, err
	}
	aead, ok := s.aeads[id]
	if !ok {
		return nil, fmt.Errorf("%w (%s)", ErrOtherKey, id)
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(sealed[len(version)+len(id)+2:])
	if err != nil {
		return nil, ErrBroken
	}
	value, err := aead.Open(nil, nil, b, associated(id, place))
	if err != nil {
		return nil, ErrBroken
	}
	return value, nil
}

// KeyOf names the key that a value was sealed with.
func KeyOf(sealed string) (string, error) {
	parts := strings.Split(sealed, ".")
	if len(parts) != 3 || parts[0] != version {
		return "", ErrBroken
	}
	return parts[1], nil
}

func associated(keyID, place string) []byte {
	return []byte(version + "." + keyID + "." + place)
}

// NewKey makes a sealing key as the text that ParseKeys reads.
func NewKey() string {
	key := make([]byte, KeyLength)
	rand.Read(key) // never fails (crypto/rand)
	return base64.StdEncoding.EncodeToString(key) + "\n"
}

// ParseKeys reads sealing keys: 32 bytes in base64 each, apart by white space or commas, the one that
// seals first.
func ParseKeys(text []byte) ([][]byte, error) {
	var keys [][]byte
	for i, word := range bytes.Fields(bytes.ReplaceAll(text, []byte(","), []byte(" "))) {
		key, err := base64.StdEncoding.DecodeString(string(word))
		if err != nil || len(key) != KeyLength {
			return nil, fmt.Errorf("sealing key %d is not %d bytes in base64 (make one with: head -c %d /dev/urandom | base64)", i+1, KeyLength, KeyLength)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no sealing key in it")
	}
	return keys, nil
}
