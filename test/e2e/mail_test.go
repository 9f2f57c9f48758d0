package e2e

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/slipway-ci/slipway/internal/mailtest"
)

// mailCommand starts a mail server for the script at $SMTP, or waits for the next mail and matches it.
func (w *world) mailCommand(ts *testscript.TestScript, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		address, mails := mailtest.Serve(w.t)
		w.mails = mails
		ts.Setenv("SMTP", address)
		return nil
	case len(args) == 2 && args[0] == "next":
		want, err := regexp.Compile("(?s)" + args[1])
		if err != nil {
			return err
		}
		return w.eventually("a mail comes", func() (bool, error) {
			select {
			case m := <-w.mails:
				if !want.MatchString(m) {
					return false, fmt.Errorf("the mail does not match %s:\n%s", args[1], m)
				}
				return true, nil
			default:
				return false, nil
			}
		})
	}
	return errors.New("usage: mail serve|next REGEXP")
}
