package web

// SignInPage asks who is there. It names no organization, pipeline or person.
type SignInPage struct {
	Frame
	Next    string // where to go after; a path of this server
	Email   string
	Code    string // of a one-time link, taken from the address
	Problem string
	Version string
}

// SetupPage makes the first account.
type SetupPage struct {
	Frame
	Handle  string
	Email   string
	Problem string
	Field   string
	Version string
}

// ErrorPage says what failed, what was not harmed and what to do.
type ErrorPage struct {
	Frame
	Status    int
	State     State
	Title     string
	Text      string
	Reference string
	Links     []Link
}
