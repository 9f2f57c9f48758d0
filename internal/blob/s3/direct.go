package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Part is an uploaded part, numbered from 1, as the store answered for it.
type Part struct {
	Number int
	ETag   string
}

// PartsError says why the parts named are not an object's.
type PartsError struct{ Reason string }

func (e *PartsError) Error() string { return e.Reason }

// Begin begins an upload of a blob in parts and returns the store's name for it.
func (s *Store) Begin(ctx context.Context, key string) (string, error) {
	out, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &s.bucket, Key: s.name(key)})
	if err != nil {
		return "", fmt.Errorf("begin upload of blob %s: %w", key, err)
	}
	return aws.ToString(out.UploadId), nil
}

// SignPart is an address that takes one part of an upload, with PUT, for a time.
func (s *Store) SignPart(ctx context.Context, key, upload string, number int, term time.Duration) (string, error) {
	in := &s3.UploadPartInput{Bucket: &s.bucket, Key: s.name(key), UploadId: &upload, PartNumber: aws.Int32(int32(number))}
	out, err := s.signer.PresignUploadPart(ctx, in, s3.WithPresignExpires(term))
	if err != nil {
		return "", fmt.Errorf("sign part %d of blob %s: %w", number, key, err)
	}
	return out.URL, nil
}

// Complete makes the parts of an upload the blob; once it did, it may be called again. Parts that are not
// those of the upload are a *PartsError.
func (s *Store) Complete(ctx context.Context, key, upload string, parts []Part) error {
	if upload == "" {
		return &PartsError{"no upload in parts was begun"}
	}
	completed := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		completed[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.Number)), ETag: aws.String(p.ETag)}
	}
	_, err := s.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.bucket, Key: s.name(key), UploadId: &upload, MultipartUpload: &types.CompletedMultipartUpload{Parts: completed},
	})
	switch code(err) {
	case "":
	case "NoSuchUpload":
		if _, statErr := s.Stat(ctx, key); statErr == nil {
			return nil
		}
		return &PartsError{"the upload was given up"}
	case "InvalidPart", "InvalidPartOrder", "EntityTooSmall":
		return &PartsError{code(err)}
	}
	if err != nil {
		return fmt.Errorf("complete blob %s: %w", key, err)
	}
	return nil
}

// Abort gives an upload up. An upload that is over is no error.
func (s *Store) Abort(ctx context.Context, key, upload string) error {
	_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: s.name(key), UploadId: &upload})
	if err != nil && code(err) != "NoSuchUpload" {
		return fmt.Errorf("abort blob %s: %w", key, err)
	}
	return nil
}

// AbortBefore gives up the uploads of keys with a prefix that were begun before a time, of at most 1,000.
func (s *Store) AbortBefore(ctx context.Context, prefix string, before time.Time) error {
	out, err := s.client.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)})
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	for _, u := range out.Uploads {
		if !aws.ToTime(u.Initiated).Before(before) {
			continue
		}
		_, aborted := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: u.Key, UploadId: u.UploadId})
		if code(aborted) != "NoSuchUpload" {
			err = errors.Join(err, aborted)
		}
	}
	return err
}

// SignGet is an address that gives the blob for a time, with the given type and disposition.
func (s *Store) SignGet(ctx context.Context, key, contentType, disposition string, term time.Duration) (string, error) {
	out, err := s.signer.PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.bucket, Key: s.name(key), ResponseContentType: &contentType, ResponseContentDisposition: &disposition,
	}, s3.WithPresignExpires(term))
	if err != nil {
		return "", fmt.Errorf("sign blob %s: %w", key, err)
	}
	return out.URL, nil
}
