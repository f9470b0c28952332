// Package lantest gives tests a network of their own, where interfaces come
// and go and nothing that is sent can leave.
package lantest
