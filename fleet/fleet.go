// Package fleet holds the nouns of the house: what is photographed, when it was
// asked for, and what came of it. Everything here is plain data; it imports the
// standard library only, and everything else imports it.
//
//	Sighting ─► Device ─► Camera ─┐
//	                              ├─► Occurrence ─► Order ─► Frame ─► Reading ─► Capture
//	Schedule ─────────────────────┘
package fleet
