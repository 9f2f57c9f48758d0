package jobcli

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-ci/slipway/internal/agent/wire"
	"github.com/slipway-ci/slipway/internal/blob/s3"
)

// elsewhere are the stores of a user's own that the official agent knows and these commands do not, by what
// begins or ends a destination (internal/artifact/uploader.go of buildkite-agent v3.138.1).
var elsewhere = map[string]string{"gs": "Google Cloud Storage", "rt": "Artifactory"}

// azure ends the host of a destination in Azure Blob Storage.
const azure = ".blob.core.windows.net"

// isS3 says whether a destination is in S3. One that is neither there nor on the server is an error that
// names it.
func isS3(destination string) (bool, error) {
	if destination == "" {
		return false, nil
	}
	scheme, rest, ok := strings.Cut(destination, "://")
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case ok && scheme == "s3" && host != "":
		return true, nil
	case elsewhere[scheme] != "":
		return false, fmt.Errorf("artifacts in %s (%s) are not supported: use the server's own storage, or s3://BUCKET/PATH", elsewhere[scheme], destination)
	case strings.HasSuffix(host, azure):
		return false, fmt.Errorf("artifacts in Azure Blob Storage (%s) are not supported: use the server's own storage, or s3://BUCKET/PATH", destination)
	}
	return false, fmt.Errorf("%q is no destination for artifacts: give s3://BUCKET/PATH, or none for the server's own storage", destination)
}

// bucket is S3 storage of the user's own.
type bucket struct {
	*s3.Store
	name, folder string
	env          environ
}

// openBucket opens the bucket of a destination, with the variables of the official agent before those of the
// AWS SDK (internal/artifact/s3.go of buildkite-agent v3.138.1).
func (p *program) openBucket(ctx context.Context, destination string) (*bucket, error) {
	name, folder, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(destination, "s3://"), "/"), "/")
	env := p.env
	c := s3.Config{
		Bucket: name, Region: env["BUILDKITE_S3_DEFAULT_REGION"], Endpoint: env["BUILDKITE_S3_ENDPOINT"],
		PathStyle: env["BUILDKITE_S3_ENDPOINT"] != "", Profile: env["BUILDKITE_S3_PROFILE"],
	}
	access, secret := cmp.Or(env["BUILDKITE_S3_ACCESS_KEY_ID"], env["BUILDKITE_S3_ACCESS_KEY"]), cmp.Or(env["BUILDKITE_S3_SECRET_ACCESS_KEY"], env["BUILDKITE_S3_SECRET_KEY"])
	if access != "" && secret != "" {
		c.AccessKey, c.SecretKey, c.SessionToken = access, secret, env["BUILDKITE_S3_SESSION_TOKEN"]
	}
	if c.Endpoint != "" && !strings.Contains(c.Endpoint, "://") {
		c.Endpoint = "https://" + c.Endpoint
	}
	store, err := s3.Open(ctx, c)
	return &bucket{store, name, folder, env}, err
}

func (b *bucket) object(a wire.Artifact) string { return path.Join(b.folder, a.Path) }

// address is where people find an artifact.
func (b *bucket) address(a wire.Artifact) (string, error) {
	base, err := url.Parse(cmp.Or(b.env["BUILDKITE_S3_ACCESS_URL"], "https://"+b.name+".s3.amazonaws.com"))
	if err != nil {
		return "", fmt.Errorf("BUILDKITE_S3_ACCESS_URL: %w", err)
	}
	base.Path = path.Join("/", base.Path, b.object(a))
	return base.String(), nil
}

// acls are the rules that S3 knows by name.
var acls = []string{
	"private", "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "bucket-owner-full-control",
}

// acl is who may read what is uploaded: everybody, as the official agent has it, unless a variable says
// otherwise.
func (b *bucket) acl() (string, error) {
	acl := cmp.Or(b.env["BUILDKITE_S3_ACL"], b.env["AWS_S3_ACL"], "public-read")
	if !slices.Contains(acls, acl) {
		return "", fmt.Errorf("BUILDKITE_S3_ACL %q is not one of %s", acl, strings.Join(acls, ", "))
	}
	return acl, nil
}

// send puts an artifact into the bucket.
func (b *bucket) send(ctx context.Context, p *program, a wire.Artifact) error {
	acl, err := b.acl()
	if err != nil {
		return err
	}
	f, err := os.Open(a.AbsolutePath)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	o := s3.Object{
		Name: b.object(a), ContentType: a.ContentType, ACL: acl, Encrypted: strings.EqualFold(b.env["BUILDKITE_S3_SSE_ENABLED"], "true"),
	}
	return p.retry(ctx, wire.CallUploadArtifact, func(ctx context.Context, _ int) error {
		return b.PutObject(ctx, o, f, a.FileSize)
	})
}

// bucketTerm is how long the address of an artifact in a bucket is good for.
const bucketTerm = time.Hour

// located is the address from which an artifact can be fetched.
func (p *program) located(ctx context.Context, a wire.Artifact) (string, error) {
	inS3, err := isS3(a.UploadDestination)
	if !inS3 || err != nil {
		return a.URL, err
	}
	b, err := p.openBucket(ctx, a.UploadDestination)
	if err != nil {
		return "", err
	}
	return b.SignObject(ctx, b.object(a), bucketTerm)
}
