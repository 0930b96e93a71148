locals {
  api_digest = "sha256:287464dc71978f6326182ea957acf927388a3094ab4e91de4842f217de361533" # repin: api
}

resource "google_cloud_run_v2_job" "report" {
  template {
    template {
      containers {
        image = "ghcr.io/acme/shop-api@${local.api_digest}"
      }
    }
  }
}
