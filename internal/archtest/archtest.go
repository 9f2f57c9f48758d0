// Package archtest holds the repository's rules as tests: which package may
// import which, what a package may touch, how long a file may be, which words
// are not written. It has no code of its own.
//
// The rules read source text only, so they run in a second and hold for a
// package as soon as its first file exists. Each failure names a file, a line
// and the remedy. A rule that proves wrong is changed by a decision record in
// docs/adr, not by an exception in the code; the lists of exceptions in this
// package each give a reason.
package archtest
