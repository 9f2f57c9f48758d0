// Package conformance says which statements about pipelines the project holds to, and by which
// tests. statements.txt has them in our words, one a line:
//
//	P001 0 | What must be so.
//	P002 0 | What must be so. | also TestOfAnotherName internal/agentapi
//	P054 2 | What must be so. | not done: why
//
// The number behind the id is its priority, 0 first. A statement is held by every test whose name
// begins with its id, wherever in the tree that test is; "also" names one with another name.
//
// The test of this package fails for a statement that is held by nothing and does not say why, for
// one that says so and is held after all, and for a test that is named after no statement or does
// not exist. With -update it writes docs/pipeline-conformance.md.
package conformance
