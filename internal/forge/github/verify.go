package github

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Verify says whether a signature, as in the header X-Hub-Signature-256, is that of the body as it came
// (https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries). It takes the same
// time for any wrong signature.
func Verify(secret, body []byte, signature string) bool {
	sum, ok := strings.CutPrefix(signature, "sha256=")
	got, err := hex.DecodeString(sum)
	if !ok || err != nil || len(secret) == 0 {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hmac.Equal(got, mac.Sum(nil))
}
