package forge

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	withScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/@]*@)?([^/:]+)(?::[0-9]+)?/(.*)$`)
	scpLike    = regexp.MustCompile(`^(?:[^/@:]+@)?([^/:]+):(.*)$`)
)

// SameRepository says whether two addresses name one repository: with and without a user, over HTTPS or
// SSH, with .git at the end or not. Hosts and paths are compared without regard to case, as the forges do.
func SameRepository(a, b string) bool { return a != "" && b != "" && Place(a) == Place(b) }

// Place is host and path of an address, or the path of a local one.
func Place(address string) string {
	address = strings.TrimSpace(address)
	host, path := "", address
	if m := withScheme.FindStringSubmatch(address); m != nil {
		host, path = m[1], m[2]
	} else if m := scpLike.FindStringSubmatch(address); m != nil && !strings.Contains(address, "://") {
		host, path = m[1], m[2]
	}
	path = strings.TrimSuffix(strings.TrimRight(path, "/"), ".git")
	if host == "" {
		return path
	}
	return strings.ToLower(host + "/" + strings.TrimLeft(path, "/"))
}

// NameOf is the path of a repository on its host, as in "acme/app"; "" for one that is on no host.
func NameOf(address string) string {
	_, name, onHost := strings.Cut(Place(address), "/")
	if !onHost || strings.HasPrefix(address, "/") {
		return ""
	}
	return name
}

// ValidAPI says whether an address can be that of a forge's API.
func ValidAPI(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

// ServesAPI says whether a repository lives at the forge whose API has an address. A token must not be
// sent anywhere else, and no other forge knows the repository.
func ServesAPI(api, repository string) bool {
	u, err := url.Parse(api)
	if err != nil || NameOf(repository) == "" {
		return false
	}
	host, _, _ := strings.Cut(Place(repository), "/")
	return strings.EqualFold(strings.TrimPrefix(u.Hostname(), "api."), host) || strings.EqualFold(u.Hostname(), host)
}
