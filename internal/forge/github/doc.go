// Package github reads what GitHub delivers to a webhook, writes commit statuses, and
// gets the tokens of a GitHub App.
//
// Decode is pure. It takes the event's name and its JSON body and trusts neither: a body that lacks what
// its event must have is an error that says what, and whatever else is missing is unknown in the facts.
// The shapes are those of https://docs.github.com/en/webhooks/webhook-events-and-payloads.
package github
