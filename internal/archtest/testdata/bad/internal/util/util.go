// Package util holds what found no place.
package util

// Contains a list of drivers.
import (
	_ "database/sql"
)

func ptr() {}
