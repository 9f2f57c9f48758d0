package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Object is a file in a bucket that is not ours alone: its name is as it stands, without the prefix and the
// suffix of blobs.
type Object struct {
	Name        string
	ContentType string
	ACL         string // "": the bucket's own rule
	Encrypted   bool   // with the store's own key
}

// objectParts bounds how many parts an object is put in; S3 takes 10,000.
const objectParts = 9000

// PutObject stores a file of some size, in parts if it is large.
func (s *Store) PutObject(ctx context.Context, o Object, from io.ReaderAt, size int64) error {
	if size <= partSize {
		_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &s.bucket, Key: &o.Name, Body: io.NewSectionReader(from, 0, size), ContentLength: &size,
			ContentType: &o.ContentType, ACL: types.ObjectCannedACL(o.ACL), ServerSideEncryption: o.encryption(),
		})
		return s.putting(o, err)
	}
	begun, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.bucket, Key: &o.Name, ContentType: &o.ContentType, ACL: types.ObjectCannedACL(o.ACL), ServerSideEncryption: o.encryption(),
	})
	if err != nil {
		return s.putting(o, err)
	}
	err = s.putObjectParts(ctx, o, begun.UploadId, from, size)
	if err != nil {
		_, aborted := s.client.AbortMultipartUpload(context.WithoutCancel(ctx), &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: &o.Name, UploadId: begun.UploadId})
		err = errors.Join(err, aborted)
	}
	return s.putting(o, err)
}

func (o Object) encryption() types.ServerSideEncryption {
	if o.Encrypted {
		return types.ServerSideEncryptionAes256
	}
	return ""
}

// putting says what was being done, and what the user can do about it.
func (s *Store) putting(o Object, err error) error {
	switch code(err) {
	case "PermanentRedirect", "AuthorizationHeaderMalformed":
		return fmt.Errorf("put %s into the bucket %s (is its region another? name it in BUILDKITE_S3_DEFAULT_REGION): %w", o.Name, s.bucket, err)
	case "AccessControlListNotSupported":
		return fmt.Errorf("put %s into the bucket %s (it takes no ACL but private: set BUILDKITE_S3_ACL=private): %w", o.Name, s.bucket, err)
	}
	if err != nil {
		return fmt.Errorf("put %s into the bucket %s: %w", o.Name, s.bucket, err)
	}
	return nil
}

func (s *Store) putObjectParts(ctx context.Context, o Object, upload *string, from io.ReaderAt, size int64) error {
	length := max(partSize, (size+objectParts-1)/objectParts)
	var parts []types.CompletedPart
	for at := int64(0); at < size; at += length {
		number := aws.Int32(int32(len(parts) + 1))
		part := io.NewSectionReader(from, at, min(length, size-at))
		out, err := s.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &s.bucket, Key: &o.Name, UploadId: upload, PartNumber: number, Body: part, ContentLength: aws.Int64(part.Size()),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{PartNumber: number, ETag: out.ETag})
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: &o.Name, UploadId: upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

// SignObject is an address that gives an object for a time.
func (s *Store) SignObject(ctx context.Context, name string, term time.Duration) (string, error) {
	out, err := s.signer.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &name}, s3.WithPresignExpires(term))
	if err != nil {
		return "", fmt.Errorf("sign %s in the bucket %s: %w", name, s.bucket, err)
	}
	return out.URL, nil
}
