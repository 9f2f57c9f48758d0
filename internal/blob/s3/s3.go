// Package s3 keeps blobs in an S3-compatible object store, and lets others send and fetch objects without
// the server in between, by addresses that are signed for one request.
//
// The name of a blob's object is its key with "!" at the end, a character that keys cannot contain and that
// sorts before all others: so the keys a and a/b can both exist where the store keeps objects as files, and
// objects sort as their keys do.
//
// A Put of more than 16 MiB is a multipart upload, of which nothing is seen before it is complete. One that a
// dying process left is given up by AbortBefore.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/slipway-ci/slipway/internal/blob"
)

// Config says where objects are. Credentials are found as the AWS SDK finds them: in the environment, in
// shared files, or from the machine's own service.
type Config struct {
	Bucket   string
	Prefix   string // of all objects' names; ends with a slash unless ""
	Endpoint string // URL; "": that of AWS in the region
	Region   string // "": as the SDK finds it, else us-east-1
	// PathStyle puts the bucket in the path of addresses instead of in front of the host, as stores other
	// than AWS often want it.
	PathStyle bool
	Profile   string // of the SDK's shared files; "": as the SDK chooses
	// AccessKey, SecretKey and SessionToken are used instead of what the SDK finds, unless AccessKey is "".
	AccessKey, SecretKey, SessionToken string
}

// suffix ends the names of objects.
const suffix = "!"

// partSize is how many bytes of a Put are held in memory at once.
const partSize = 16 << 20

// Store is a blob.Store in a bucket. Its methods may be called from several goroutines.
type Store struct {
	bucket, prefix string
	client         *s3.Client
	signer         *s3.PresignClient
}

var _ blob.Store = (*Store)(nil)

// Open finds credentials. It makes no request of the bucket.
func Open(ctx context.Context, c Config) (*Store, error) {
	loaded, err := config.LoadDefaultConfig(ctx, config.WithSharedConfigProfile(c.Profile))
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if c.Region != "" {
		loaded.Region = c.Region
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1"
	}
	if c.AccessKey != "" {
		loaded.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken}, nil
		})
	}
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.UsePathStyle = c.PathStyle
		if c.Endpoint != "" {
			o.BaseEndpoint = aws.String(c.Endpoint)
		}
		// Other stores know no checksums in trailers, and agents send none with parts.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	})
	return &Store{bucket: c.Bucket, prefix: c.Prefix, client: client, signer: s3.NewPresignClient(client)}, nil
}

// Check says what is wrong if the bucket cannot be used.
func (s *Store) Check(ctx context.Context) error {
	if _, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.bucket}); err != nil {
		return fmt.Errorf("bucket %s: %w", s.bucket, err)
	}
	return nil
}

func (s *Store) name(key string) *string { return aws.String(s.prefix + key + suffix) }

// Put implements blob.Store.
func (s *Store) Put(ctx context.Context, key string, r io.Reader) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	if err := s.put(ctx, key, r); err != nil {
		return blob.Info{}, fmt.Errorf("put blob %s: %w", key, err)
	}
	return s.Stat(ctx, key)
}

func (s *Store) put(ctx context.Context, key string, r io.Reader) error {
	first, err := chunk(ctx, r)
	if err == nil && len(first) == partSize {
		return s.putParts(ctx, key, first, r)
	}
	if err == nil {
		_, err = s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &s.bucket, Key: s.name(key), Body: bytes.NewReader(first), ContentLength: aws.Int64(int64(len(first))),
		})
	}
	return err
}

// chunk reads a part, or what is left.
func chunk(ctx context.Context, r io.Reader) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err := io.CopyN(&b, r, partSize)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b.Bytes(), err
}

func (s *Store) putParts(ctx context.Context, key string, part []byte, r io.Reader) error {
	upload, err := s.Begin(ctx, key)
	if err != nil {
		return err
	}
	var parts []Part
	for len(part) > 0 && err == nil {
		var out *s3.UploadPartOutput
		out, err = s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &s.bucket, Key: s.name(key), UploadId: &upload, PartNumber: aws.Int32(int32(len(parts) + 1)),
			Body: bytes.NewReader(part), ContentLength: aws.Int64(int64(len(part))),
		})
		if err == nil {
			parts = append(parts, Part{Number: len(parts) + 1, ETag: aws.ToString(out.ETag)})
			part, err = chunk(ctx, r)
		}
	}
	if err == nil {
		err = s.Complete(ctx, key, upload, parts)
	}
	if err != nil {
		return errors.Join(err, s.Abort(context.WithoutCancel(ctx), key, upload))
	}
	return nil
}

// Get implements blob.Store.
func (s *Store) Get(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("get blob %s: negative offset %d", key, offset)
	}
	if length == 0 {
		_, err := s.Stat(ctx, key)
		return http.NoBody, err
	}
	in := &s3.GetObjectInput{Bucket: &s.bucket, Key: s.name(key)}
	if length > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
	} else if offset > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", offset))
	}
	out, err := s.client.GetObject(ctx, in)
	if code(err) == "InvalidRange" {
		return http.NoBody, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get blob %s: %w", key, notFound(err))
	}
	return out.Body, nil
}

// Stat implements blob.Store.
func (s *Store) Stat(ctx context.Context, key string) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat blob %s: %w", key, notFound(err))
	}
	return blob.Info{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified)}, nil
}

// List implements blob.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("list blobs: %w", err))
				return
			}
			for _, object := range page.Contents {
				info, ours := s.info(object)
				if ours && !yield(info, nil) {
					return
				}
			}
		}
	}
}

// info describes an object, unless it is none of ours.
func (s *Store) info(o types.Object) (blob.Info, bool) {
	key, ours := strings.CutSuffix(strings.TrimPrefix(aws.ToString(o.Key), s.prefix), suffix)
	return blob.Info{Key: key, Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}, ours
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: s.name(key)})
	if err != nil && !errors.Is(notFound(err), blob.ErrNotFound) {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}

// code is the store's name for an error, "" if it is none of the store's.
func code(err error) string {
	var named interface{ ErrorCode() string }
	if errors.As(err, &named) {
		return named.ErrorCode()
	}
	return ""
}

func notFound(err error) error {
	switch code(err) {
	case "NoSuchKey", "NotFound":
		return blob.ErrNotFound
	}
	return err
}
