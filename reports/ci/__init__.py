"""What a CI system reads: JUnit, SARIF, job summary, annotations, badge."""
