variable "threshold" {
  default = 10
}

locals {
  stage = "hcl"
  code  = "dear-${local.stage}"
}

resource "aws_kinesis_stream" "ticks" {
  name        = "ticks-${local.stage}"
  shard_count = 2
}

resource "aws_kinesis_stream" "dear" {
  name        = local.code
  shard_count = 1
}

resource "aws_iam_role" "role" {
  name = "role"
}

resource "aws_kinesis_analytics_application" "stocks" {
  name              = "stocks-${local.stage}"
  start_application = true
  code              = <<-EOF
    -- Ticks that are "dear"
    CREATE STREAM "DEAR" ("ticker" VARCHAR(4), "price" DOUBLE);
    CREATE PUMP p AS INSERT INTO "DEAR" SELECT STREAM "ticker", "price"
    FROM "SOURCE_SQL_STREAM_001" WHERE "price" > ${var.threshold};
  EOF

  inputs {
    name_prefix = "SOURCE_SQL_STREAM"

    kinesis_stream {
      resource_arn = aws_kinesis_stream.ticks.arn
      role_arn     = aws_iam_role.role.arn
    }

    parallelism {
      count = 1
    }

    starting_position_configuration {
      starting_position = "TRIM_HORIZON"
    }

    schema {
      record_columns {
        name     = "ticker"
        sql_type = "VARCHAR(4)"
        mapping  = "$.ticker"
      }
      record_columns {
        name     = "price"
        sql_type = "DOUBLE"
        mapping  = "$.price"
      }
      record_encoding = "UTF-8"

      record_format {
        mapping_parameters {
          json {
            record_row_path = "$"
          }
        }
      }
    }
  }

  outputs {
    name = "DEAR"
    schema {
      record_format_type = "JSON"
    }
    kinesis_stream {
      resource_arn = aws_kinesis_stream.dear.arn
      role_arn     = "arn:aws:iam::123456789012:role/role"
    }
  }
}

resource "aws_kinesis_firehose_delivery_stream" "lake" {
  name        = "lake-${local.stage}"
  destination = "extended_s3"

  kinesis_source_configuration {
    kinesis_stream_arn = aws_kinesis_stream.dear.arn
    role_arn           = aws_iam_role.role.arn
  }

  extended_s3_configuration {
    role_arn           = aws_iam_role.role.arn
    bucket_arn         = "arn:aws:s3:::lake"
    prefix             = "dear/"
    buffering_size     = 5
    buffering_interval = 60
  }
}
