// Package e2e holds tests of the whole: a real centre and a real agent as
// processes of their own, which are killed.
package e2e
