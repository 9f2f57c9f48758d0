// Package web is the browser's door to Slipway: pages, assets and the live
// stream.
//
// Invariants. A page is one Go struct and one template; everything the
// template shows is a field of the struct, so a page can be rendered in a test
// from a literal. Log text, messages, branch names, annotations and file names
// are hostile: they reach a page only through html/template's escaping or
// through one of the functions in mark.go and text.go that escape by
// themselves. No page carries an inline style or script; the policy in
// policy.go would refuse them.
//
// Ordering. A fragment sent over the stream and the same fragment inside a
// page come from the same template. Each carries a version (data-v); the
// browser drops what is not newer than what it shows, so repeats and
// reordering do no harm.
//
// Failure. Every page can be read, and its main action done, with scripts off
// and with the stream cut. A handler returns its error; serve turns it into an
// error page with a reference that is also in the log.
package web
