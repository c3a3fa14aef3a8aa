variable "name" {
  description = "Name of the load balancer and its target group"
  type        = string
  default     = "longhaul"
}

variable "vpc_id" {
  description = "VPC in which nginx runs"
  type        = string
}

variable "public_subnet_ids" {
  description = "Public subnets in at least two availability zones"
  type        = list(string)

  validation {
    condition     = length(var.public_subnet_ids) >= 2
    error_message = "A load balancer needs subnets in at least two availability zones."
  }
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate for HTTPS"
  type        = string
}

variable "nginx_security_group_id" {
  description = "Security group of the nginx targets"
  type        = string
}

variable "client_cidrs" {
  description = "Networks that can connect; use Cloudflare's networks if it is in front"
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "log_bucket" {
  description = "Bucket for access logs; empty: no logs. Access logs contain query strings and therefore tickets"
  type        = string
  default     = ""
}

variable "deletion_protection" {
  description = "Whether the load balancer is protected against deletion"
  type        = bool
  default     = true
}
