# An Application Load Balancer in front of Longhaul's nginx. docs/proxies.md explains the timeouts:
# each proxy waits slightly longer than the one behind it.

terraform {
  required_version = ">= 1.6"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.50, < 7.0"
    }
  }
}

resource "aws_lb" "longhaul" {
  name               = var.name
  load_balancer_type = "application"
  internal           = false
  subnets            = var.public_subnet_ids
  security_groups    = [aws_security_group.balancer.id]

  # Seconds without a byte. Longer than a long poll (60 s) and nginx's read timeout (70 s). Streams
  # send a heartbeat every 15 s, so a stream that is silent for 75 s is dead.
  idle_timeout = 75

  # A stream may live as long as its job. After this time the client's connection is renewed.
  client_keep_alive = 3600

  enable_http2               = true
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  # The load balancer appends the address that it sees. nginx trusts only this last address.
  xff_header_processing_mode = "append"
  enable_deletion_protection = var.deletion_protection

  access_logs {
    bucket  = var.log_bucket
    prefix  = var.name
    enabled = var.log_bucket != ""
  }
}

resource "aws_lb_target_group" "nginx" {
  name        = var.name
  vpc_id      = var.vpc_id
  target_type = "ip"
  port        = 8080
  protocol    = "HTTP"

  # HTTP/1.1 towards nginx, because HTTP/2 targets do not support WebSocket upgrades.
  protocol_version = "HTTP1"

  # With round robin, long streams would accumulate on the oldest targets.
  load_balancing_algorithm_type = "least_outstanding_requests"

  # Any target can continue any stream or poll, because the state is in Valkey.
  stickiness {
    type    = "lb_cookie"
    enabled = false
  }

  # New requests stop immediately; open streams continue for up to this long. nginx closes them
  # after 30 s anyway, and clients reconnect.
  deregistration_delay = 40

  health_check {
    # Through nginx to the API. /health/ready is for the internal network only.
    path                = "/health/live"
    matcher             = "200"
    interval            = 10
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.longhaul.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.nginx.arn
  }
}

# nginx blocks these paths as well; here the requests do not even reach it.
resource "aws_lb_listener_rule" "operators_only" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/metrics*", "/v1/admin*"]
    }
  }

  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.longhaul.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"
    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-balancer-"
  description = "Longhaul's load balancer"
  vpc_id      = var.vpc_id

  ingress {
    description = "HTTPS from clients"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = var.client_cidrs
  }

  ingress {
    description = "HTTP from clients, redirected to HTTPS"
    from_port   = 80
    to_port     = 80
    protocol    = "tcp"
    cidr_blocks = var.client_cidrs
  }

  egress {
    description     = "nginx"
    from_port       = 8080
    to_port         = 8080
    protocol        = "tcp"
    security_groups = [var.nginx_security_group_id]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "nginx_from_balancer" {
  security_group_id            = var.nginx_security_group_id
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
  description                  = "From Longhaul's load balancer"
}
