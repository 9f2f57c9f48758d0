module github.com/slipway-ci/slipway

go 1.26.8

require (
	example.test/unexplained v1.0.0
	pgregory.net/rapid v1.3.0
)
