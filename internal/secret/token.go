// Package secret makes secrets and keeps what must not be read.
//
// Tokens are never stored: only HashToken of one is. They are random, but for those that must be the same when they
// are asked for again, which a Sealer makes. What must be read again (the secrets of
// jobs, private keys) is kept by a Sealer, with a key that is not in the database.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// NewToken returns a new secret with 256 bits of randomness behind a prefix that names its kind.
func NewToken(prefix string) string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand)
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// HashToken is what is stored of a token. Tokens are random, so a plain hash cannot be reversed;
// looking one up by its hash tells a guesser nothing by the time it takes.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
