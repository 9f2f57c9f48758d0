// Package edge is the gRPC contract of streaming pings, shared by the server
// and the agent: messages, client and handler generated from agentedge.proto.
//
// The service is mounted at the host's root (/agentedge.v1.AgentEdgeService/),
// whatever path the agent API itself has, and works over plain HTTP/1.1 as
// well as HTTP/2 because its only method streams in one direction.
//
// Ordering: messages take effect in the order sent, except that an agent which
// is running a job keeps only the last of several pauses and resumes. A
// disconnect is final. Nothing in a stream is acknowledged: a job_assigned that
// is not followed by PUT jobs/:id/accept was not delivered.
package edge

//go:generate protoc --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix agentedge.proto
