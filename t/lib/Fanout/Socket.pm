package Fanout::Socket;

=head1 NAME

Fanout::Socket - a TCP or TLS connection with a read buffer and deadlines

=head1 SYNOPSIS

    my $s = Fanout::Socket->open(port => $port, tls => 1);
    $s->send_bytes("GET / HTTP/1.0\r\n\r\n");
    $s->fill(5) while !$s->eof;
    print ${ $s->buffer };

=head1 DESCRIPTION

The base of Fanout::WS and Fanout::HTTP. Sockets never block: every wait has
a deadline in seconds, stretched by TEST_TIMEOUT_SCALE (slow builds set it).

=over

=item open(port, host?, tls?, alpn?, local?, rcvbuf?, timeout?)

Connects or dies. C<local> is the client's address, C<rcvbuf> the size of its
receive buffer (for slow readers), C<alpn> a list of protocols.

=item send_bytes(bytes, timeout?)

Writes all; false when the peer is gone or doesn't read. C<try_send(bytes)>
writes what fits now and returns how much that was.

=item fill(timeout?)

Waits for bytes and reads some into the buffer. False at a time-out or at the
end (then C<eof> is true). A time-out of 0 polls.

=item ready(timeout, sockets...)

Function: those sockets that can be read now, as soon as there is one.

=item shut_write, cut, disconnect

A half close; an abortive close (RST); a plain close.

=back

=cut

use strict;
use warnings;

use Errno qw( EAGAIN EINTR EINPROGRESS EWOULDBLOCK );
use IO::Select;
use IO::Socket::INET;
use Socket qw( SOL_SOCKET SO_LINGER SO_RCVBUF );
use Fanout::Elapsed qw( time );

our $SCALE = $ENV{TEST_TIMEOUT_SCALE} || 1;

$SIG{PIPE} = 'IGNORE';


sub open {
    my ($class, %o) = @_;

    my $timeout = defined $o{timeout} ? $o{timeout} : 10;

    my $sock = IO::Socket::INET->new(
        PeerAddr => $o{host} || '127.0.0.1',
        PeerPort => $o{port},
        Proto    => 'tcp',
        Timeout  => $timeout * $SCALE,
        $o{local} ? (LocalAddr => $o{local}) : (),
        $o{rcvbuf}
            ? (Sockopts => [ [ SO_RCVBUF, pack('i', $o{rcvbuf}) ] ])
            : (),
    ) or die "can't connect to port $o{port}: $@\n";

    start_tls($sock, \%o, $timeout * $SCALE) if $o{tls};

    $sock->blocking(0);

    my $buffer = '';

    return bless {
        sock => $sock, buffer => \$buffer, eof => 0, tls => !!$o{tls}
    }, $class;
}


# A context of its own for each connection would read the system's
# certificates each time.

my $context;


sub start_tls {
    my ($sock, $o, $timeout) = @_;

    require IO::Socket::SSL;

    $context ||= IO::Socket::SSL::SSL_Context->new(
        SSL_server => 0, SSL_verify_mode => 0
    ) if !$o->{alpn};

    IO::Socket::SSL->start_SSL(
        $sock,
        SSL_verify_mode => 0,
        SSL_hostname    => 'localhost',
        $o->{alpn} ? () : (SSL_reuse_ctx => $context),
        Timeout         => $timeout,
        $o->{alpn} ? (SSL_alpn_protocols => $o->{alpn}) : (),
    ) or die "TLS handshake failed: "
           . IO::Socket::SSL::errstr() . "\n";
}


sub sock   { $_[0]{sock} }
sub buffer { $_[0]{buffer} }
sub eof    { $_[0]{eof} }

sub local_port { $_[0]{sock} ? $_[0]{sock}->sockport : 0 }
sub peer_port  { $_[0]{sock} ? $_[0]{sock}->peerport : 0 }


sub try_send {
    my ($self, $bytes, $offset) = @_;

    return undef if !$self->{sock};

    $offset ||= 0;

    my $n = $self->{sock}->syswrite($bytes, length($bytes) - $offset, $offset);

    return $n if defined $n;
    return 0  if again($self);
    return undef;
}


sub send_bytes {
    my ($self, $bytes, $timeout) = @_;

    my $end  = time + (defined $timeout ? $timeout : 10) * $SCALE;
    my $sent = 0;

    while ($sent < length $bytes) {
        my $n = $self->try_send($bytes, $sent);

        return 0 if !defined $n;

        $sent += $n;
        next if $n;

        my $left = $end - time;
        return 0 if $left <= 0;

        IO::Select->new($self->{sock})->can_write($left);
    }

    return 1;
}


sub fill {
    my ($self, $timeout) = @_;

    my $end = time + (defined $timeout ? $timeout : 10) * $SCALE;

    while (!$self->{eof}) {
        my $n = $self->{sock}->sysread(${ $self->{buffer} }, 65536,
                                       length ${ $self->{buffer} });

        return 1 if $n;

        if (defined $n || !again($self)) {
            $self->{error} = $!;
            $self->{eof} = 1;
            return 0;
        }

        my $left = $end - time;
        return 0 if $left <= 0;

        IO::Select->new($self->{sock})->can_read($left);
    }

    return 0;
}


sub again {
    my ($self) = @_;

    if ($self->{tls}) {
        no warnings 'once';
        my $e = 0 + ($IO::Socket::SSL::SSL_ERROR || 0);

        return 1 if $e == IO::Socket::SSL::SSL_WANT_READ()
                 || $e == IO::Socket::SSL::SSL_WANT_WRITE();
    }

    return $!{EAGAIN} || $!{EWOULDBLOCK} || $!{EINTR};
}


sub ready {
    my ($timeout, @sockets) = @_;

    my @open = grep { $_->{sock} && !$_->{eof} } @sockets;
    my @now  = grep { $_->{tls} && $_->{sock}->pending } @open;

    return @now if @now || !@open;

    my %of = map { fileno($_->{sock}) => $_ } @open;

    return map { $of{ fileno $_ } }
           IO::Select->new(map { $_->{sock} } @open)
                     ->can_read($timeout * $SCALE);
}


sub shut_write {
    my ($self) = @_;

    shutdown($self->{sock}, 1);
}


sub cut {
    my ($self) = @_;

    return if !$self->{sock};

    setsockopt($self->{sock}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    $self->disconnect;
}


sub disconnect {
    my ($self) = @_;

    my $sock = delete $self->{sock} or return;

    if ($self->{tls}) {
        $sock->close(SSL_no_shutdown => 1, SSL_fast_shutdown => 1);

    } else {
        close $sock;
    }

    $self->{eof} = 1;
}


1;
