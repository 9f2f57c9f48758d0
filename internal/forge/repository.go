package forge

import (
	"net/url"
	"regexp"
	"strings"
)

var (
	withScheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://(?:[^/@]*@)?([^/:]+)(?::([0-9]+))?/(.*)$`)
	scpLike    = regexp.MustCompile(`^(?:[^/@:]+@)?([^/:]+):(.*)$`)
)

// usualPorts are those that schemes have where an address names none. Of the web's two it makes no difference which is meant.
var usualPorts = map[string]string{"http": "80", "https": "443", "ssh": "22", "git+ssh": "22", "ssh+git": "22", "git": "9418"}

// SameRepository says whether two addresses name one repository: with and without a user, over HTTPS or
// SSH, with .git at the end or not. Hosts and paths are compared without regard to case, as the forges do.
// Another port than the usual one may be another forge's: such an address is the same only as one with that port, spoken to in the
// same way.
func SameRepository(a, b string) bool { return a != "" && b != "" && Place(a) == Place(b) }

// Place is host and path of an address, with the port if it is not the usual one, or the path of a local one.
func Place(address string) string {
	at := find(address)
	return at.join(at.port)
}

// Site is Place without the port: addresses of one repository have the same, and perhaps those of others on the host do.
func Site(address string) string { return find(address).join("") }

// location is where an address leads to.
type location struct {
	host string // "": to this machine
	port string // with its kind, "" for the usual one
	path string
	web  bool
}

func find(address string) location {
	address = strings.TrimSpace(address)
	at := location{path: address}
	if m := withScheme.FindStringSubmatch(address); m != nil {
		scheme := strings.ToLower(m[1])
		at = location{host: m[2], path: m[4], web: scheme == "http" || scheme == "https"}
		if m[3] != "" && m[3] != usualPorts[scheme] {
			at.port = kinds[scheme] + m[3]
		}
	} else if m := scpLike.FindStringSubmatch(address); m != nil && !strings.Contains(address, "://") {
		at = location{host: m[1], path: m[2]}
	}
	at.path = strings.TrimSuffix(strings.TrimRight(at.path, "/"), ".git")
	return at
}

// kinds keep the ports of SSH and git apart from those of the web.
var kinds = map[string]string{"ssh": "ssh-", "git+ssh": "ssh-", "ssh+git": "ssh-", "git": "git-"}

func (at location) join(port string) string {
	if at.host == "" {
		return at.path
	}
	if port != "" {
		port = ":" + port
	}
	return strings.ToLower(at.host + port + "/" + strings.TrimLeft(at.path, "/"))
}

// NameOf is the path of a repository on its host, as in "acme/app"; "" for one that is on no host.
func NameOf(address string) string {
	_, name, onHost := strings.Cut(Site(address), "/")
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
// sent anywhere else, and no other forge knows the repository. On the web it has the API's port; over SSH
// nothing says whether the host has another forge.
func ServesAPI(api, repository string) bool {
	u, err := url.Parse(api)
	if err != nil || NameOf(repository) == "" {
		return false
	}
	at, of := find(repository), find(u.Scheme+"://"+u.Host+"/")
	if at.web && at.port != of.port {
		return false
	}
	return strings.EqualFold(strings.TrimPrefix(u.Hostname(), "api."), at.host) || strings.EqualFold(u.Hostname(), at.host)
}
