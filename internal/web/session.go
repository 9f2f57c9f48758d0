package web

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/store"
)

// viewer is who the request's session belongs to; ok is false for nobody.
func (q *request) viewer() (u store.User, ok bool, err error) {
	a, err := q.Auth.Session(q.ctx, q.r)
	if errors.Is(err, auth.ErrUnauthorized) {
		return u, false, nil
	}
	return a.User, err == nil, err
}

// setSession gives the browser a session. Lax keeps it off forms and images
// of other sites, and on for links that lead here.
func (q *request) setSession(token string) {
	http.SetCookie(q.w, &http.Cookie{
		Name: auth.SessionCookie, Value: token, Path: "/", MaxAge: int(engine.SignInTerm.Seconds()),
		HttpOnly: true, Secure: q.Secure, SameSite: http.SameSiteLaxMode,
	})
}

func (q *request) dropSession() {
	http.SetCookie(q.w, &http.Cookie{Name: auth.SessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: q.Secure, SameSite: http.SameSiteLaxMode})
}

// errNoMatch is the one error for an unknown address and for a wrong password.
var errNoMatch = errors.New("email and password do not belong together")

// checkPassword returns the user whose address and password these are. An
// unknown address costs as much time as a wrong password.
func (s *server) checkPassword(ctx context.Context, email, password string) (store.User, error) {
	u, err := s.Store.UserByEmail(ctx, strings.ToLower(email))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return u, ctx.Err()
	}
	if !samePassword(orElse(u.PasswordHash, nobodysHash), password) || u.PasswordHash == "" {
		return u, errNoMatch
	}
	return u, nil
}

// Cost of a password's hash: argon2id with the second recommended parameters
// of RFC 9106 §4, less one pass, in KiB of memory.
const (
	hashTime   = 2
	hashMemory = 64 * 1024
	hashLanes  = 2
	hashLength = 32
)

// maxHashing bounds how many passwords are hashed at a time, and so the memory
// that strangers can make the server take.
const maxHashing = 2

// nobodysHash is compared where there is no account.
const nobodysHash = "argon2id$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func hashPassword(password string) string {
	salt := make([]byte, 16)
	rand.Read(salt) // never fails (crypto/rand)
	return "argon2id$" + base64.RawStdEncoding.EncodeToString(salt) + "$" + base64.RawStdEncoding.EncodeToString(stretch(password, salt))
}

func stretch(password string, salt []byte) []byte {
	return argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashLanes, hashLength)
}

func samePassword(hash, password string) bool {
	parts := strings.Split(hash, "$")
	if len(parts) != 3 || parts[0] != "argon2id" {
		return false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[1])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil {
		return false
	}
	return subtle.ConstantTimeCompare(stretch(password, salt), want) == 1
}

// minPassword is the least number of characters of a password.
const minPassword = 12

// checkAccount says what is wrong with what somebody wants their account to
// be, and with which field.
func checkAccount(name, email, password string) (field, message string) {
	switch {
	case strings.TrimSpace(name) == "":
		return "handle", "A handle is needed: it is how builds name you."
	case !strings.Contains(email, "@"):
		return "email", "An email address is needed: it is what you sign in with."
	case len([]rune(password)) < minPassword:
		return "password", fmt.Sprintf("The password has fewer than %d characters.", minPassword)
	}
	return "", ""
}
