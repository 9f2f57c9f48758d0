package web

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/auth"
	"github.com/slipway-ci/slipway/internal/engine"
	"github.com/slipway-ci/slipway/internal/secret"
)

func (q *request) bare(title string) Frame {
	return Frame{Title: title, Theme: theme(q.r), Now: q.now, Scripts: []string{"ui.js"}}
}

// signInPage asks who is there. A one-time link lands here too: the form uses
// its code up, not the address, so that programs which look at links leave it
// whole.
func signInPage(q *request) error {
	if q.user.ID != "" && q.r.FormValue("code") == "" {
		return q.seeOther(local(q.r.FormValue("next")))
	}
	return q.signIn(http.StatusOK, SignInPage{Next: next(q.r), Code: q.r.FormValue("code")})
}

func next(r *http.Request) string {
	if n := local(r.FormValue("next")); n != "/" {
		return n
	}
	return ""
}

func (q *request) signIn(status int, page SignInPage) error {
	page.Frame = q.bare("Sign in")
	return q.html(status, "signin", page)
}

// signIn begins a session with a link's code, or with an email address and a
// password.
func signIn(q *request) error {
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	from := guess{"from " + network(q.r.RemoteAddr), addressTries}
	if code := q.r.PostFormValue("code"); code != "" {
		if wait := q.brake.take(q.now, from); wait > 0 {
			return q.tooMany(SignInPage{Code: code}, wait)
		}
		return q.useLink(code, from)
	}
	email := strings.TrimSpace(q.r.PostFormValue("email"))
	guesses := []guess{from, {"for " + clip(strings.ToLower(email), 200), accountTries}}
	if wait := q.brake.take(q.now, guesses...); wait > 0 {
		return q.tooMany(SignInPage{Email: email}, wait)
	}
	u, err := q.checkPassword(q.ctx, email, q.r.PostFormValue("password"))
	if errors.Is(err, errNoMatch) {
		return q.signIn(http.StatusUnprocessableEntity, SignInPage{Next: next(q.r), Email: email, Problem: "This email and password do not belong together."})
	}
	if err != nil {
		return err
	}
	q.brake.giveBack(guesses...)
	token, err := q.Engine.SignIn(q.ctx, u.ID)
	if err != nil {
		return err
	}
	if err := q.begin(token); err != nil {
		return err
	}
	return q.seeOther(orElse(next(q.r), "/"))
}

// tooMany answers who has guessed too often, alike for accounts that exist and
// that do not.
func (q *request) tooMany(page SignInPage, wait time.Duration) error {
	q.w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())+1))
	page.Next, page.Problem = next(q.r), "Too many attempts. Try again in "+duration(wait.Round(time.Second)+time.Second)+"."
	return q.signIn(http.StatusTooManyRequests, page)
}

// begin gives the browser a session of its own and ends the one it had.
func (q *request) begin(token string) error {
	if c, err := q.r.Cookie(auth.SessionCookie); err == nil {
		if err := q.Engine.SignOut(q.ctx, c.Value); err != nil {
			return err
		}
	}
	q.setSession(token)
	return nil
}

func (q *request) useLink(code string, from guess) error {
	token, err := q.Engine.UseSignInLink(q.ctx, code)
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		return q.signIn(http.StatusUnprocessableEntity, SignInPage{Next: next(q.r), Problem: no.Message})
	}
	if err != nil {
		return err
	}
	q.brake.giveBack(from)
	if err := q.begin(token); err != nil {
		return err
	}
	session, err := q.Store.Session(q.ctx, secret.HashToken(token))
	if err != nil {
		return err
	}
	u, err := q.Store.User(q.ctx, session.UserID)
	if err != nil {
		return err
	}
	if u.PasswordHash == "" && next(q.r) == "" {
		return q.seeOther("/setup")
	}
	return q.seeOther(orElse(next(q.r), "/"))
}

func signOut(q *request) error {
	if c, err := q.r.Cookie(auth.SessionCookie); err == nil {
		if err := q.Engine.SignOut(q.ctx, c.Value); err != nil {
			return err
		}
	}
	q.dropSession()
	return q.seeOther("/sign-in")
}

// setupPage lets whoever came by a link give their account a name and a
// password; an account that has one leads on.
func setupPage(q *request) error {
	if q.user.PasswordHash != "" {
		return q.seeOther("/")
	}
	return q.setup(http.StatusOK, SetupPage{})
}

func (q *request) setup(status int, page SetupPage) error {
	page.Frame, page.Version = q.bare("Make your account"), q.Version
	return q.html(status, "setup", page)
}

func setup(q *request) error {
	if q.user.PasswordHash != "" {
		return q.seeOther("/")
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	page := SetupPage{Handle: strings.TrimSpace(q.r.PostFormValue("handle")), Email: strings.ToLower(strings.TrimSpace(q.r.PostFormValue("email")))}
	password := q.r.PostFormValue("password")
	if page.Field, page.Problem = checkAccount(page.Handle, page.Email, password); page.Problem != "" {
		return q.setup(http.StatusUnprocessableEntity, page)
	}
	u := q.user
	u.Name, u.Email, u.PasswordHash = page.Handle, page.Email, hashPassword(password)
	err := q.Engine.UpdateUser(q.ctx, u)
	if no, ok := errors.AsType[*engine.Refused](err); ok {
		page.Problem, page.Field = no.Message, "email"
		return q.setup(http.StatusUnprocessableEntity, page)
	}
	if err != nil {
		return err
	}
	return q.seeOther("/")
}
