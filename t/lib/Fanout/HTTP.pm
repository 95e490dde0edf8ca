package Fanout::HTTP;

=head1 NAME

Fanout::HTTP - a small HTTP/1.1 client that hides nothing

=head1 SYNOPSIS

    my $http = Fanout::HTTP->new(port => $port);

    my $r = $http->get('/status', headers => { Accept => 'text/plain' });
    is($r->{status}, 200);
    is($r->{headers}{'content-type'}, 'text/plain');

    $r = $http->post('/fanout/channels/a/messages', '{"x":1}');
    is($r->json->{offset}, 1);

=head1 DESCRIPTION

Keeps its connection while the server does and opens another when needed, so
a client made by C<< $nginx->http(worker => $pid) >> talks to that worker
as long as C<reused> says so. C<new> takes what Fanout::Socket's C<open> does.

=over

=item get, head, delete(path, %o); post, put, patch(path, body, %o)

=item request(method, path, %o)

Options: C<body>, C<headers> (a hash, or an array of pairs when order or
repetition matters), C<close>, C<timeout>. Dies when no response comes.

=item raw(bytes, %o)

Sends the bytes as they are and reads one response.

=item start(method, path, %o), then next_bytes(timeout), next_event(timeout)

For streams: returns once the headers are there. C<next_bytes> gives more of
the body (chunks decoded), C<next_event> one server-sent event as a hash, or a
comment in front of one; undef at a time-out or the end (C<eof>, and C<whole> if
that was said by a last chunk).

=back

A response is a hash of status, reason, headers (names in lower case, values
of repeated ones joined by ", "), body; C<< ->json >> decodes the body.

=cut

use strict;
use warnings;

use Fanout::Elapsed qw( time );
use Fanout::Socket;


sub new {
    my ($class, %o) = @_;

    return bless { o => \%o, reused => 0 }, $class;
}


sub get    { my ($s, $p, @o) = @_; $s->request(GET    => $p, @o) }
sub head   { my ($s, $p, @o) = @_; $s->request(HEAD   => $p, @o) }
sub delete { my ($s, $p, @o) = @_; $s->request(DELETE => $p, @o) }
sub post   { my ($s, $p, $b, @o) = @_; $s->request(POST  => $p, @o, body => $b) }
sub put    { my ($s, $p, $b, @o) = @_; $s->request(PUT   => $p, @o, body => $b) }
sub patch  { my ($s, $p, $b, @o) = @_; $s->request(PATCH => $p, @o, body => $b) }

sub reused { $_[0]{reused} }
sub socket { $_[0]{conn} }
sub whole  { $_[0]{whole} }
sub eof    { !$_[0]{conn} || ($_[0]{conn}->eof && !length ${ $_[0]{conn}->buffer }) }


sub connection {
    my ($self) = @_;

    my $c = $self->{conn};

    if ($c && !$c->eof) {
        $c->fill(0);

        if (!$c->eof && !length ${ $c->buffer }) {
            $self->{reused}++;
            return $c;
        }
    }

    $self->{reused} = 0;
    $self->{conn}->disconnect if $self->{conn};

    return $self->{conn} = Fanout::Socket->open(%{ $self->{o} });
}


sub disconnect {
    my ($self) = @_;

    my $c = delete $self->{conn};
    $c->disconnect if $c;
}


sub format_request {
    my ($self, $method, $path, %o) = @_;

    my @headers = ref $o{headers} eq 'ARRAY' ? @{ $o{headers} }
                : map { [ $_, $o{headers}{$_} ] } sort keys %{ $o{headers} };

    my %has = map { lc $_->[0] => 1 } @headers;

    unshift @headers, [ Host => 'localhost' ] if !$has{host};
    push @headers, [ 'Content-Length', length $o{body} ]
        if defined $o{body} && !$has{'content-length'}
        && !$has{'transfer-encoding'};
    push @headers, [ Connection => 'close' ] if $o{close};

    return "$method $path HTTP/1.1\r\n"
         . join('', map { "$_->[0]: $_->[1]\r\n" } @headers) . "\r\n"
         . (defined $o{body} ? $o{body} : '');
}


sub request {
    my ($self, $method, $path, %o) = @_;

    return $self->raw($self->format_request($method, $path, %o),
                      %o, method => $method);
}


sub raw {
    my ($self, $bytes, %o) = @_;

    my $c = $self->connection;

    $c->send_bytes($bytes, $o{timeout});

    my $r = $self->read_response(%o);

    if (!$r) {
        my $first = (split /\r\n/, $bytes)[0];
        my $why = $c->eof ? 'closed' : 'timed out';
        $self->disconnect;
        die "no response to \"$first\": $why\n";
    }

    return $r;
}


sub start {
    my ($self, $method, $path, %o) = @_;

    my $c = $self->connection;

    $c->send_bytes($self->format_request($method, $path, %o));

    my $r = $self->read_head($o{timeout}) or die "no response to $path\n";

    $self->{chunked}
        = lc($r->{headers}{'transfer-encoding'} || '') eq 'chunked';
    $self->{events} = '';
    $self->{whole} = 0;

    return $r;
}


sub next_bytes {
    my ($self, $timeout) = @_;

    my $c   = $self->{conn};
    my $end = time + (defined $timeout ? $timeout : 10);

    while (1) {
        my $bytes = $self->take_bytes;

        return $bytes if defined $bytes;
        return undef if !$c->fill($end - time > 0 ? $end - time : 0);
    }
}


sub take_bytes {
    my ($self) = @_;

    my $buffer = $self->{conn}->buffer;

    if (!$self->{chunked}) {
        return undef if !length $$buffer;
        return substr $$buffer, 0, length $$buffer, '';
    }

    return undef if $$buffer !~ /^([0-9a-fA-F]+)[^\r\n]*\r\n/;

    my ($head, $size) = ($+[0], hex $1);

    return undef if length $$buffer < $head + $size + 2;

    my $bytes = substr $$buffer, $head, $size;
    substr $$buffer, 0, $head + $size + 2, '';

    if (!$size) {
        $self->{conn}{eof} = 1;
        $self->{whole} = 1;
        return undef;
    }

    return $bytes;
}


sub next_event {
    my ($self, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10);

    my $text;

    while (1) {
        return { comment => $1 } if $self->{events} =~ s/^:([^\r\n]*)\r?\n//;

        if ($self->{events} =~ s/^(.*?)\r?\n\r?\n//s) {
            $text = $1;
            last;
        }

        my $left  = $end - time;
        my $bytes = $self->next_bytes($left > 0 ? $left : 0);

        return undef if !defined $bytes;

        $self->{events} .= $bytes;
    }

    my %event;

    for my $line (split /\r?\n/, $text) {
        my ($name, $value) = $line =~ /^([^:]*):? ?(.*)$/;

        $name = 'comment' if $name eq '';
        $event{$name} = exists $event{$name} ? "$event{$name}\n$value"
                                             : $value;
    }

    return \%event;
}


sub read_head {
    my ($self, $timeout) = @_;

    my $c   = $self->{conn};
    my $end = time + (defined $timeout ? $timeout : 10);

    while (1) {
        if (${ $c->buffer } =~ s/^(.*?)\r\n\r\n//s) {
            my $r = parse_head($1);

            next if $r->{status} == 100;
            return $r;
        }

        my $left = $end - time;
        return undef if !$c->fill($left > 0 ? $left : 0);
    }
}


sub parse_head {
    my ($text) = @_;

    my ($line, @lines) = split /\r\n/, $text;

    my ($version, $status, $reason)
        = $line =~ m{^HTTP/(\d\.\d) (\d{3}) ?(.*)$}
        or die "not a status line: \"$line\"\n";

    my %headers;

    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*?)\s*$/
            or die "not a header: \"$_\"\n";

        $name = lc $name;
        $headers{$name} = exists $headers{$name} ? "$headers{$name}, $value"
                                                 : $value;
    }

    return bless {
        version => $version, status => $status, reason => $reason,
        headers => \%headers, head => $text, body => ''
    }, 'Fanout::HTTP::Response';
}


sub read_response {
    my ($self, %o) = @_;

    my $c = $self->{conn};
    my $r = $self->read_head($o{timeout}) or return undef;
    my $h = $r->{headers};

    my $end  = time + (defined $o{timeout} ? $o{timeout} : 10);
    my $more = sub {
        my $left = $end - time;
        return $c->fill($left > 0 ? $left : 0);
    };

    if (($o{method} || '') eq 'HEAD' || $r->{status} =~ /^(?:1..|204|304)$/) {
        $self->disconnect if lc($h->{connection} || '') eq 'close';
        return $r;
    }

    if (lc($h->{'transfer-encoding'} || '') eq 'chunked') {
        read_chunks($c, $r, $more) or return undef;

    } elsif (defined $h->{'content-length'}) {
        while (length ${ $c->buffer } < $h->{'content-length'}) {
            $more->() or return undef;
        }

        $r->{body} = substr ${ $c->buffer }, 0, $h->{'content-length'}, '';

    } else {
        1 while $more->();
        return undef if !$c->eof;
        $r->{body} = substr ${ $c->buffer }, 0, length ${ $c->buffer }, '';
    }

    $self->disconnect if lc($h->{connection} || '') eq 'close';

    return $r;
}


sub read_chunks {
    my ($c, $r, $more) = @_;

    my $buffer = $c->buffer;

    while (1) {
        my ($head, $size);

        while (!defined $head) {
            if ($$buffer =~ /^([0-9a-fA-F]+)[^\r\n]*\r\n/) {
                ($head, $size) = ($+[0], hex $1);

            } else {
                $more->() or return 0;
            }
        }

        while (length $$buffer < $head + $size + 2) {
            $more->() or return 0;
        }

        $r->{body} .= substr $$buffer, $head, $size;
        substr $$buffer, 0, $head + $size + 2, '';

        return 1 if !$size;
    }
}


package Fanout::HTTP::Response;

sub json {
    my ($self) = @_;

    require Fanout::JSON;
    return Fanout::JSON::decode($self->{body});
}

1;
