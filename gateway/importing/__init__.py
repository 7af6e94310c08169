"""Definitions of SQL applications in the languages of CloudFormation and Terraform, read into the API's own."""
