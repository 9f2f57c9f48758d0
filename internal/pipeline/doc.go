// Package pipeline turns a pipeline document (YAML or JSON) into the plan of a build or an upload.
package pipeline
