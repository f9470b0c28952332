//go:build !long

package e2e

const long = false
