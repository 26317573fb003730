"""The stages: one module and one public function for each rule of the workflow."""
