package forge

// App is an app of a forge that speaks for the server.
type App struct {
	APIURL string // without a trailing slash
	ID     string // the app's id, or its client id
	Key    []byte // private, RSA, in PKCS #1 or PKCS #8
}
