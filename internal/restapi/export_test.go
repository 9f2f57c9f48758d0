package restapi

// Route is what a test sees of a route.
type Route struct{ Pattern, Scope string }

// Routes are all routes.
func Routes() []Route {
	var out []Route
	for _, rt := range routes {
		out = append(out, Route{rt.pattern, rt.scope})
	}
	return out
}

// The scopes that are none.
const (
	Public   = public
	AnyScope = anyScope
)
