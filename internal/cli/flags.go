package cli

import (
	"time"
)

// durationFlag is a duration such as 1h or 30s.
type durationFlag struct{ time.Duration }

// UnmarshalText reads the duration.
func (d *durationFlag) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	d.Duration = v
	return err
}
