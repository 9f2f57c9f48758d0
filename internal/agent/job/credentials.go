package job

import (
	"regexp"
	"strconv"
	"strings"
)

var (
	overHTTPS = regexp.MustCompile(`^https://(?:[^/@]*@)?([^/]+)/`)
	overSSH   = regexp.MustCompile(`^(git@([^/:]+):|ssh://git@([^/:]+)/)`)
)

// useCredentials lets git ask the server for the credentials of the repository's host, where the server, the
// pipeline or a hook wants that (internal/job/executor.go of buildkite-agent v3.138.1). Unlike there it is
// in the environment of this job, not in the configuration of the machine's user, and for that host alone:
// helpers of the machine are asked first, and go on to serve other hosts. It needs git 2.31.
func (x *executor) useCredentials() {
	if x.env("BUILDKITE_USE_REPOSITORY_PROVIDER_GIT_CREDENTIALS") != "true" && x.env("BUILDKITE_USE_GITHUB_APP_GIT_CREDENTIALS") != "true" {
		return
	}
	repository, host := x.env("BUILDKITE_REPO"), ""
	if m := overHTTPS.FindStringSubmatch(repository); m != nil {
		host = m[1]
	} else if m := overSSH.FindStringSubmatch(repository); m != nil {
		host = m[2] + m[3]
		x.gitConfig("url.https://"+host+"/.insteadOf", m[1])
	} else {
		x.Log.Warning("The server's git credentials are for repositories over HTTPS or SSH, which %q is not", repository)
		return
	}
	section := "credential.https://" + host
	x.gitConfig(section+".useHttpPath", "true") // the helper must know which repository it is
	x.gitConfig(section+".helper", "!'"+strings.ReplaceAll(x.job.Tool, "'", `'\''`)+"' git-credentials-helper")
	x.Log.Comment("Using the server's git credentials for %s", host)
}

// gitConfig sets a value for every git of the job
// (https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT).
func (x *executor) gitConfig(key, value string) {
	n, err := strconv.Atoi(x.env("GIT_CONFIG_COUNT"))
	if err != nil || n < 0 {
		n = 0
	}
	i := strconv.Itoa(n)
	x.Env["GIT_CONFIG_KEY_"+i], x.Env["GIT_CONFIG_VALUE_"+i] = key, value
	x.Env["GIT_CONFIG_COUNT"] = strconv.Itoa(n + 1)
}
