variable "name" {
  description = "Name of the load balancer and its target group"
  type        = string
  default     = "longhaul"
}

variable "vpc_id" {
  description = "Where nginx runs"
  type        = string
}

variable "public_subnet_ids" {
  description = "Public subnets in at least two zones"
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs subnets in at least two zones."
  }
}

variable "certificate_arn" {
  description = "Certificate for HTTPS (ACM)"
  type        = string
}

variable "nginx_security_group_id" {
  description = "Security group of the nginx targets"
  type        = string
}

variable "client_cidrs" {
  description = "Who may call; Cloudflare's networks where it is in front"
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "log_bucket" {
  description = "Bucket for access logs; empty: none. They hold query strings, and so tickets"
  type        = string
  default     = ""
}

variable "deletion_protection" {
  description = "Whether the balancer refuses to be deleted"
  type        = bool
  default     = true
}
