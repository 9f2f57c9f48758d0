package secret

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// rsaBits is the size of keys that sign tokens: what every reader of RS256 accepts.
const rsaBits = 2048

// NewSigningKey makes a key that signs tokens, in PKCS #8. It takes a second on a slow machine.
func NewSigningKey() ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// ParseRSA reads a private RSA key in PKCS #8 or PKCS #1.
func ParseRSA(der []byte) (*rsa.PrivateKey, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is %T, not RSA", parsed)
	}
	return key, nil
}

// JWK is the public half of a signing key, as a set of keys publishes it (RFC 7517, RFC 7518 §6.3).
type JWK struct {
	Type      string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	ID        string `json:"kid"`
	Modulus   string `json:"n"`
	Exponent  string `json:"e"`
}

// PublicJWK is the public half of a key.
func PublicJWK(id string, key *rsa.PublicKey) JWK {
	return JWK{"RSA", "sig", "RS256", id, encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())}
}

// SignJWT makes a JSON Web Token of claims, signed with RS256 (RFC 7519, RFC 7515). keyID may be empty.
func SignJWT(key *rsa.PrivateKey, keyID string, claims any) (string, error) {
	header, err := json.Marshal(struct {
		Type      string `json:"typ"`
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid,omitempty"`
	}{"JWT", "RS256", keyID})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("claims of a token: %w", err)
	}
	signed := encode(header) + "." + encode(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed + "." + encode(signature), nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
